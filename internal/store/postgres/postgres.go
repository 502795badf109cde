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
	// Steps lead to the schema that is needed; nil: those of this program.
	Steps []sqlstore.Step
	// Tables is what lasts in the database beside the store: names of tables and
	// indexes, each with the statement that makes it. What is missing is made, by the
	// owner, whenever the schema is made, changed or upgraded.
	Tables [][2]string
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
	pooled      = sessions + 2 // the writer's, and one that is being replaced
)

// Connections is how many a store has at most, the one that listens included.
const Connections = pooled + 1

// settings are those of every session. Sessions that were left alone in a
// transaction let go of the head, and a peer that is gone is noticed. The planner
// is to take the index that a statement is written for: it knows nothing of how
// many records match, and would rather sort a million.
func settings() map[string]string {
	return map[string]string{
		"application_name": "mintmark", "lock_timeout": "2s", "statement_timeout": "10min",
		"idle_in_transaction_session_timeout": "15s", "tcp_user_timeout": "10s",
		"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3",
		"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off",
		"max_parallel_workers_per_gather": "0", "jit": "off",
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
	_, err = prepare(ctx, c, cfg, task{first: hex.EncodeToString(raw)})
	return refusal(c, err)
}

// Upgrade brings the schema of a store, and what is beside it, to what this program
// needs, while others work with it. The role it connects as owns the tables.
func Upgrade(ctx context.Context, cfg Config) (Upgraded, error) {
	c, err := parse(cfg.URL)
	if err != nil {
		return Upgraded{}, err
	}
	done, err := prepare(ctx, c, cfg, task{whole: true})
	done.Location = location(c)
	return done, refusal(c, err)
}

// Open opens what Create made. A schema that is older is upgraded, if the role
// may.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	c, err := parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	if _, err := prepare(ctx, c, cfg, task{}); err != nil {
		return nil, refusal(c, err)
	}
	db := stdlib.OpenDB(*c)
	db.SetMaxOpenConns(pooled)
	s, err := sqlstore.New(ctx, sqlstore.Config{Driver: sqlstore.Driver{
		DB: db, Kind: "postgres", Location: location(c), Read: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", Write: "BEGIN",
		Lock: sqlstore.SelectHead + " FOR UPDATE", Notify: "SELECT pg_notify('" + channel + "', $1)",
		Position: "strpos", Whole: "SET LOCAL enable_seqscan = on", Arrays: true, Sessions: sessions, Send: send, Fault: fault,
	}, Now: cfg.Now, Rand: cfg.Rand, Alarm: cfg.Alarm})
	if err != nil {
		return nil, errors.Join(refusal(c, err), db.Close())
	}
	return &Store{s, c, cfg.Rand}, nil
}

// Beside opens other connections to the same database, so many at a time, for what
// is to wait for no change and let none wait. The caller closes them.
func (s *Store) Beside(many int) *sql.DB {
	db := stdlib.OpenDB(*s.config)
	db.SetMaxOpenConns(many)
	return db
}

// location is the address without credentials.
func location(c *pgx.ConnConfig) string {
	return fmt.Sprintf("postgres://%s/%s", net.JoinHostPort(c.Host, fmt.Sprint(c.Port)), c.Database)
}

// refusal says which database something is wrong with, and whether that may pass
// by itself: then it is Unavailable. Errors of the driver tell the user and the
// host, never the password.
func refusal(c *pgx.ConnConfig, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sqlstore.ErrEmpty):
		err = fmt.Errorf("%w: if it held one before, restore it from a backup", err)
	case passing(err):
		return &authority.Error{
			Kind: authority.Unavailable, Code: codeUnavailable, Msg: fmt.Sprintf("the database %s cannot be used now: %s", location(c), err), Err: err,
		}
	}
	return fmt.Errorf("the database %s cannot be used as a store: %w", location(c), err)
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
