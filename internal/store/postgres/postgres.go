// Package postgres keeps records in a PostgreSQL database: the whole state, for
// many nodes that share it. It touches that database.
//
// The one hard idea: a notification is only a hint. Every node reads the head
// again when one comes, each second, and whenever it has connected, after it has
// begun to listen; so what a lost notification costs is a second, and never a
// change.
package postgres

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/stdlib"

	"mintmark/internal/authority"
	"mintmark/internal/store/sqlstore"
)

// Config says where the database is and what the store is given.
type Config struct {
	// URL is as libpq takes it, and so are the variables, password file and service
	// file that libpq knows. Without sslmode a host that is not this machine is
	// asked for a certificate that is right for its name (verify-full).
	URL   string
	Now   func() time.Time
	Rand  io.Reader
	Alarm func(string) // told of what somebody should look at; may be nil
}

// Store implements authority.Store. Run must be running for it to hear of what
// other nodes change.
type Store struct {
	*sqlstore.Store
	config *pgx.ConnConfig
	random io.Reader
}

var _ authority.Store = (*Store)(nil)

const (
	channel     = "mintmark"
	connectTime = 5 * time.Second
	sessions    = 8
	// schemaLock is the advisory lock under which the schema is changed.
	schemaLock = 0x4d696e74
)

// settings are those of every session. Sessions that were left alone in a
// transaction let go of the head, and a peer that is gone is noticed.
func settings() map[string]string {
	return map[string]string{
		"application_name": "mintmark", "lock_timeout": "2s", "statement_timeout": "10min",
		"idle_in_transaction_session_timeout": "15s", "tcp_user_timeout": "10s",
		"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3",
	}
}

// parse reads the address. Its errors do not tell it: a password may be in it.
func parse(address string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(withTLS(address))
	if err != nil {
		return nil, errors.New("the address of the database cannot be read, or a file or variable that it refers to")
	}
	c.ConnectTimeout = connectTime
	for name, value := range settings() {
		if _, given := c.RuntimeParams[name]; !given {
			c.RuntimeParams[name] = value
		}
	}
	dialer := &net.Dialer{
		Timeout: connectTime, Control: giveUpSoon,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
	}
	c.DialFunc = dialer.DialContext
	c.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: time.Second}
	}
	return c, nil
}

// ErrStore says that a database holds a store already.
var ErrStore = errors.New("it holds a store already")

// Create makes a store in a database that holds none. The role it connects as
// owns the tables.
func Create(ctx context.Context, cfg Config) error {
	c, err := parse(cfg.URL)
	if err != nil {
		return err
	}
	raw := make([]byte, 16)
	if _, err := io.ReadFull(cfg.Rand, raw); err != nil {
		return fmt.Errorf("a random id: %w", err)
	}
	return refusal(c, prepare(ctx, c, true, hex.EncodeToString(raw)))
}

// Upgrade brings the schema of a store to what this program needs. The role it
// connects as owns the tables.
func Upgrade(ctx context.Context, cfg Config) error {
	c, err := parse(cfg.URL)
	if err != nil {
		return err
	}
	return refusal(c, prepare(ctx, c, false, ""))
}

// Open opens what Create made. A schema that is older is upgraded, if the role
// may.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	c, err := parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, c, false, ""); err != nil {
		return nil, refusal(c, err)
	}
	db := stdlib.OpenDB(*c)
	db.SetMaxOpenConns(sessions + 2) // the writer's, and one that is being replaced
	s, err := sqlstore.New(ctx, sqlstore.Config{Driver: sqlstore.Driver{
		DB: db, Kind: "postgres", Location: location(c), Read: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", Write: "BEGIN",
		Lock: sqlstore.SelectHead + " FOR UPDATE", Notify: "SELECT pg_notify('" + channel + "', $1)",
		Position: "strpos", Arrays: true, Sessions: sessions, Send: send, Fault: fault,
	}, Now: cfg.Now, Rand: cfg.Rand, Alarm: cfg.Alarm})
	if err != nil {
		return nil, errors.Join(refusal(c, err), db.Close())
	}
	return &Store{s, c, cfg.Rand}, nil
}

// location is the address without credentials.
func location(c *pgx.ConnConfig) string {
	return fmt.Sprintf("postgres://%s/%s", net.JoinHostPort(c.Host, fmt.Sprint(c.Port)), c.Database)
}

// refusal says which database something is wrong with. Errors of the driver
// tell the user and the host, never the password.
func refusal(c *pgx.ConnConfig, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sqlstore.ErrEmpty):
		err = fmt.Errorf("%w: if it held one before, restore it from a backup", err)
	}
	return fmt.Errorf("the database %s cannot be used as a store: %w", location(c), err)
}

// prepare checks the server and brings the schema to what this program needs.
func prepare(ctx context.Context, c *pgx.ConnConfig, fresh bool, first string) (err error) {
	db := stdlib.OpenDB(*c)
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := sound(ctx, conn); err != nil {
		return err
	}
	empty, err := isEmpty(ctx, conn)
	switch {
	case err != nil:
		return err
	case !fresh && empty:
		return sqlstore.ErrEmpty
	case !fresh:
		if behind, err := sqlstore.Current(ctx, conn); err != nil || !behind {
			return err
		}
	}
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, undone := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
			err = errors.Join(err, undone)
		}
	}()
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", schemaLock); err != nil {
		return err
	}
	if empty, err = isEmpty(ctx, conn); err != nil {
		return err
	}
	if fresh && !empty {
		return ErrStore
	}
	d := sqlstore.Dialect{Bytewise: ` COLLATE "C"`, Number: "bigint"}
	if _, err := d.Migrate(ctx, conn, fresh, first); err != nil {
		return owned(err)
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}

// owned says what to do when a role may not change the schema.
func owned(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "42501" {
		return fmt.Errorf("the schema is to be changed, and this role may not: run mintmark store upgrade as the owner of the tables: %w", err)
	}
	return err
}

func isEmpty(ctx context.Context, conn *sql.Conn) (bool, error) {
	var there bool
	err := conn.QueryRowContext(ctx, `SELECT to_regclass('head') IS NOT NULL`).Scan(&there)
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

// send executes statements in one turn.
func send(ctx context.Context, conn *sql.Conn, statements []sqlstore.Statement) error {
	return conn.Raw(func(raw any) error {
		c, ok := raw.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("a connection of an unknown driver: %T", raw)
		}
		var b pgx.Batch
		for _, s := range statements {
			b.Queue(s.Text, s.Args...)
		}
		return c.Conn().SendBatch(ctx, &b).Close()
	})
}
