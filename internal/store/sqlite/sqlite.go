// Package sqlite keeps records in one SQLite file: the whole state, for millions
// of tokens on one machine. It touches that file and those that SQLite keeps
// beside it.
//
// The one hard idea: a file has one process, which holds the lock beside it, and
// in that process one connection that writes. So nobody ever waits for a lock of
// SQLite's, and what is read has been written by this process.
package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path/filepath"
	"time"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/sqlstore"
)

// Config says where the file is.
type Config struct {
	Path  string // absolute
	Files durable.Files
	Now   func() time.Time
	Rand  io.Reader
}

// application marks a file as ours: "Mint".
const application = 0x4d696e74

// ErrStore says that a file holds a store already.
var ErrStore = errors.New("it holds a store already")

// Create makes a store in a file that is empty or not there, in a folder that
// nobody else can reach. One that was cut short is made again. Its error is ErrStore
// where there is a store.
func Create(ctx context.Context, cfg Config) (err error) {
	held, err := take(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	if err := cfg.Files.CreateNew(cfg.Path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create the database: %w", err)
	}
	if err := cfg.Files.CheckFile(cfg.Path); err != nil {
		return err
	}
	if err := look(ctx, cfg.Path); !errors.Is(err, sqlstore.ErrEmpty) {
		if err == nil {
			err = ErrStore
		}
		return refusal(cfg.Path, err)
	}
	raw := make([]byte, 16)
	if _, err := io.ReadFull(cfg.Rand, raw); err != nil {
		return fmt.Errorf("a random id: %w", err)
	}
	return prepare(ctx, cfg, true, hex.EncodeToString(raw))
}

// Open opens what Create made and holds it until Close. It never creates a file
// but those that SQLite needs beside it and the lock.
func Open(ctx context.Context, cfg Config) (_ *sqlstore.Store, err error) {
	held, err := take(cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, held.Close())
		}
	}()
	err = cfg.Files.CheckFile(cfg.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the database %s is missing: nothing was started; restore it from a backup: %w", cfg.Path, err)
	}
	if err == nil {
		err = look(ctx, cfg.Path)
	}
	if err == nil {
		err = prepare(ctx, cfg, false, "")
	}
	if err != nil {
		return nil, refusal(cfg.Path, err)
	}
	db, err := open(cfg.Path)
	if err != nil {
		return nil, err
	}
	s, err := sqlstore.New(ctx, sqlstore.Config{Driver: sqlstore.Driver{
		DB: db, Kind: "sqlite", Location: cfg.Path, Read: "BEGIN", Write: "BEGIN IMMEDIATE", Lock: sqlstore.SelectHead,
		Position: "instr", Prepare: true, Sessions: sessions, Fault: fault,
	}, Now: cfg.Now, Rand: cfg.Rand, Release: held.Close})
	if err != nil {
		return nil, errors.Join(refusal(cfg.Path, err), db.Close())
	}
	return s, nil
}

const sessions = 8

// take checks the place and locks the file.
func take(cfg Config) (*durable.Held, error) {
	if !filepath.IsAbs(cfg.Path) {
		return nil, fmt.Errorf("the path of a database is absolute; %q is not", cfg.Path)
	}
	if err := cfg.Files.CheckFolder(filepath.Dir(cfg.Path)); err != nil {
		return nil, err
	}
	held, err := cfg.Files.Lock(cfg.Path + ".lock")
	if locked, ok := errors.AsType[*durable.LockedError](err); ok {
		return nil, fmt.Errorf("the database %s is in use by another server; stop that one or name another file: %w", cfg.Path, locked)
	}
	return held, err
}

// refusal says what is wrong with a file and what to do about it. The file is
// left as it is.
func refusal(path string, err error) error {
	remedy := "restore it from a backup, or name another file"
	newer, isNewer := errors.AsType[*sqlstore.NewerError](err)
	switch {
	case isNewer:
		return fmt.Errorf("%s: %w", path, newer)
	case errors.Is(err, sqlstore.ErrEmpty):
		remedy = "if it held one before, restore it from a backup"
	}
	return fmt.Errorf("%s cannot be used as a store: %w; it was left as it is: %s", path, err, remedy)
}

// look tells whether a file is a database of ours, without changing it.
func look(ctx context.Context, path string) error {
	db, err := connect(path, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	var id, tables int64
	if err := db.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables); err != nil {
		return err
	}
	switch {
	case tables == 0:
		return sqlstore.ErrEmpty
	case id != application:
		return errors.New("it is the database of another program")
	}
	return nil
}

// prepare brings the schema to what this program needs.
func prepare(ctx context.Context, cfg Config, fresh bool, instance string) error {
	db, err := open(cfg.Path)
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	d := sqlstore.Dialect{Bytewise: "", Ordered: " WITHOUT ROWID", Number: "INTEGER", Steps: sqlstore.Steps()}
	if !fresh {
		if _, behind, err := d.Current(ctx, conn); err != nil || !behind {
			return err
		}
	}
	if _, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		return err
	}
	if fresh {
		_, err = conn.ExecContext(ctx, fmt.Sprintf(`PRAGMA application_id = %d`, application))
	}
	if err == nil {
		_, _, err = d.Migrate(ctx, conn, fresh, instance)
	}
	if err != nil {
		_, undone := conn.ExecContext(ctx, `ROLLBACK`)
		return errors.Join(err, undone)
	}
	_, err = conn.ExecContext(ctx, `COMMIT`)
	return err
}

// open opens a database that is ours: with a write-ahead log that is synced at
// every commit.
func open(path string) (*sql.DB, error) {
	return connect(path, url.Values{"_pragma": {
		"busy_timeout(2000)", "journal_mode(WAL)", "synchronous(FULL)", "temp_store(MEMORY)", "cache_size(-65536)", "wal_autocheckpoint(4000)", "trusted_schema(OFF)",
	}})
}

func connect(path string, settings url.Values) (*sql.DB, error) {
	values := url.Values{"mode": {"rw"}, "_dqs": {"0"}, "_defensive": {"1"}}
	for k, v := range settings {
		values[k] = v
	}
	at := url.URL{Scheme: "file", Path: path, RawQuery: values.Encode()}
	c, err := driver.NewConnector(at.String())
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// slow is said of a file: whatever it is, it is not out of reach.
const slow = "The database did not answer in time"

// fault classes an error of SQLite.
func fault(err error) sqlstore.Fault {
	e, ok := errors.AsType[*driver.Error](err)
	if !ok {
		lost := errors.Is(err, sql.ErrConnDone)
		if lost || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return sqlstore.Fault{Kind: authority.Unavailable, Lost: lost, What: slow}
		}
		return sqlstore.Fault{Kind: authority.Internal}
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return sqlstore.Fault{Kind: authority.Internal, Duplicate: true}
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return sqlstore.Fault{Kind: authority.Full}
	case sqlite3.SQLITE_READONLY:
		return sqlstore.Fault{Kind: authority.Unavailable, ReadOnly: true}
	case sqlite3.SQLITE_IOERR:
		return sqlstore.Fault{Kind: authority.Unavailable, Lost: true, What: "The disk that the database is on answers with errors"}
	case sqlite3.SQLITE_CANTOPEN:
		return sqlstore.Fault{Kind: authority.Unavailable, Lost: true, What: "The file of the database cannot be opened"}
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return sqlstore.Fault{Kind: authority.Unavailable, Lost: true, What: "The file of the database is damaged"}
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT:
		return sqlstore.Fault{Kind: authority.Unavailable, What: slow}
	}
	return sqlstore.Fault{Kind: authority.Internal}
}
