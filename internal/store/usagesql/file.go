package usagesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// ours marks a SQLite file as one of counts, in its header; version is that of
// its tables.
const (
	ours    = 0x6d6d7573 // mmus
	version = 1
)

// checked is how large a file may be to be read through when it is opened.
const checked = 32 << 20

// Open opens a file of counts, or begins one that only this user can reach. A
// file that cannot be used is moved aside, and aside is where it is then.
func Open(ctx context.Context, path string, now time.Time) (s *Store, aside string, err error) {
	s, err = open(ctx, path, now)
	if err == nil || ctx.Err() != nil {
		return s, "", err
	}
	unusable := err
	aside = path + ".unusable-" + now.UTC().Format("20060102T150405Z")
	for _, part := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(path+part, aside+part); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, "", errors.Join(unusable, err)
		}
	}
	s, err = open(ctx, path, now)
	return s, aside, err
}

// OpenKept opens a file of counts that is there. One that cannot be used stays as
// it is.
func OpenKept(ctx context.Context, path string, now time.Time) (*Store, error) {
	if _, err := os.Lstat(path); err != nil {
		return nil, err
	}
	return open(ctx, path, now)
}

func open(ctx context.Context, path string, now time.Time) (s *Store, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // what SQLite makes beside it has its mode
	if err != nil {
		return nil, err
	}
	about, err := f.Stat()
	if err == nil {
		err = f.Chmod(0o600)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	// Immediate: a transaction that reads first and writes then would fail beside
	// another one.
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"}).String())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", path, errors.Join(err, db.Close()))
		}
	}()
	db.SetMaxOpenConns(4)
	if err := recognise(ctx, db, about.Size()); err != nil {
		return nil, err
	}
	for _, table := range schema("", "") {
		if _, err := db.ExecContext(ctx, table[1]); err != nil {
			return nil, err
		}
	}
	return (&Store{db, false}).begin(ctx, now)
}

// recognise refuses a file that is not one of counts, or damaged as far as can be
// seen in a moment.
func recognise(ctx context.Context, db *sql.DB, size int64) error {
	var id, form, tables int64
	err := errors.Join(
		db.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id), db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&form),
		db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables),
	)
	switch {
	case err != nil:
		return err
	case id == 0 && form == 0 && tables == 0:
		_, err1 := db.ExecContext(ctx, fmt.Sprintf(`PRAGMA application_id = %d`, ours))
		_, err2 := db.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, version))
		return errors.Join(err1, err2)
	case id != ours || form != version:
		return errors.New("this is not a file of counts that this version knows")
	case size > checked:
		return nil
	}
	var found string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&found); err != nil {
		return err
	}
	if found != "ok" {
		return errors.New("the file is damaged: " + found)
	}
	return nil
}
