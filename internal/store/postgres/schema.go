package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"mintmark/internal/store/sqlstore"
)

const (
	// schemaLock is the advisory lock under which the schema is changed.
	schemaLock = 0x4d696e74
	// schemaWait is how long one who comes second waits for the first to have
	// changed it.
	schemaWait = time.Minute
)

// ErrStore says that a database holds a store already.
var ErrStore = errors.New("it holds a store already")

// ErrForeign says that a database has a table by the name of one of ours that
// another program made.
var ErrForeign = errors.New("tables of another program are in it, and it was left as it is: name another database, or a schema of its own with search_path=")

// Upgraded is what an upgrade did: the versions are equal when the schema was what
// it should be, and To is of a newer program when that is what the schema is.
type Upgraded struct {
	Location string // the address without credentials
	From, To sqlstore.Version
	Made     []string // what was missing beside the store, by its names
}

// Same reports whether two addresses are of one database, whoever comes there.
func Same(one, other string) (bool, error) {
	a, err := parse(one)
	if err != nil {
		return false, err
	}
	b, err := parse(other)
	if err != nil {
		return false, err
	}
	return a.Database == b.Database && slices.Equal(servers(a), servers(b)), nil
}

// servers are where an address leads to, each once.
func servers(c *pgx.ConnConfig) []string {
	all := []string{net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))}
	for _, f := range c.Fallbacks {
		all = append(all, net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// schema is how the schema is spelled here.
func (cfg Config) schema() sqlstore.Dialect {
	d := sqlstore.Dialect{Bytewise: ` COLLATE "C"`, Number: "bigint", Steps: cfg.Steps}
	if d.Steps == nil {
		d.Steps = sqlstore.Steps()
	}
	return d
}

// task is what a schema is looked at for.
type task struct {
	first string // the random name of the first revision, where there is no store yet; else ""
	whole bool   // what is beside a store whose schema is current is looked for, too
}

// prepare checks the server and brings the schema to what the program needs.
func prepare(ctx context.Context, c *pgx.ConnConfig, cfg Config, do task) (done Upgraded, err error) {
	db := stdlib.OpenDB(*c)
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return done, err
	}
	defer conn.Close()
	if err := sound(ctx, conn); err != nil {
		return done, err
	}
	if do.first == "" {
		// Nodes seldom find anything to do, and look without a lock.
		at, behind, err := current(ctx, conn, cfg.schema())
		if err != nil || !behind && !do.whole {
			return Upgraded{From: at, To: at}, err
		}
	}
	if _, err := conn.ExecContext(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED"); err != nil {
		return done, err
	}
	done, err = change(ctx, conn, cfg, do.first)
	if err != nil {
		_, undone := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return done, errors.Join(err, undone)
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return done, err
}

// change is the transaction that changes the schema. Whoever waited for another
// one that did so finds nothing to do.
func change(ctx context.Context, conn *sql.Conn, cfg Config, first string) (done Upgraded, err error) {
	limit := fmt.Sprintf("SET LOCAL lock_timeout = '%ds'", int(schemaWait.Seconds()))
	if _, err := conn.ExecContext(ctx, limit); err != nil {
		return done, err
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", schemaLock); err != nil {
		return done, err
	}
	// A table that is in use is not waited for so long: who comes after would wait
	// behind.
	if _, err := conn.ExecContext(ctx, "SET LOCAL lock_timeout = '2s'"); err != nil {
		return done, err
	}
	if first != "" {
		empty, err := isEmpty(ctx, conn)
		if err == nil && !empty {
			err = ErrStore
		}
		if err != nil {
			return done, err
		}
	}
	if done.From, done.To, err = cfg.schema().Migrate(ctx, conn, first != "", first); err != nil {
		return done, owned(err)
	}
	// What is there is not made again: the role may not be the owner.
	for _, t := range cfg.Tables {
		var there bool
		if err := conn.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, t[0]).Scan(&there); err != nil {
			return done, err
		}
		if there {
			continue
		}
		if _, err := conn.ExecContext(ctx, t[1]); err != nil {
			return done, owned(err)
		}
		done.Made = append(done.Made, t[0])
	}
	return done, nil
}

// owned says what to do when a role may not change the schema, and when a table
// was in use.
func owned(err error) error {
	e, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && e.Code == "42501": // insufficient_privilege
		return fmt.Errorf("the schema is to be changed, and this role may not: run mintmark store upgrade as the owner of the tables: %w", err)
	case ok && e.Code == "42P07": // duplicate_table, where no store is
		return fmt.Errorf("%w: %w", ErrForeign, err)
	case ok && e.Code == "55P03": // lock_not_available
		return fmt.Errorf("the schema is to be changed, and a table was in use for too long; nothing was changed, try again: %w", err)
	}
	return err
}

// current is the version of a store's schema, and whether it is older than the
// program needs.
func current(ctx context.Context, conn *sql.Conn, d sqlstore.Dialect) (at sqlstore.Version, behind bool, err error) {
	empty, err := isEmpty(ctx, conn)
	switch {
	case err != nil:
		return at, false, err
	case empty:
		return at, false, sqlstore.ErrEmpty
	}
	return d.Current(ctx, conn)
}

// isEmpty reports that no store is in a database. A table that is called as ours
// is and is another one is ErrForeign.
func isEmpty(ctx context.Context, conn *sql.Conn) (bool, error) {
	var there bool
	var ours int
	err := conn.QueryRowContext(ctx, `SELECT to_regclass('head') IS NOT NULL, (SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('head')
		AND attname IN ('one', 'revision', 'batch', 'audit_seq', 'audit_hash', 'major', 'minor'))`).Scan(&there, &ours)
	if err == nil && there && ours < 7 {
		err = ErrForeign
	}
	return !there, err
}

// sound refuses a server that forgets what it has acknowledged, and one that
// cannot be written.
func sound(ctx context.Context, conn *sql.Conn) error {
	var fsync, commit string
	var replica bool
	err := conn.QueryRowContext(ctx, `SELECT current_setting('fsync'), current_setting('synchronous_commit'), pg_is_in_recovery()`).Scan(&fsync, &commit, &replica)
	switch {
	case err != nil:
		return err
	case replica:
		return errors.New("it is a replica, which cannot be written: name the primary, as with target_session_attrs=read-write")
	case fsync == "off", commit == "off":
		return errors.New("its settings fsync and synchronous_commit must be on: what was acknowledged would be lost in a crash")
	}
	return nil
}
