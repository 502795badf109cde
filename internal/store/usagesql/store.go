package usagesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"mintmark/internal/authority"
)

// Store implements [authority.UsageStore] on a database.
type Store struct {
	db     *sql.DB
	shared bool // with other writers, in PostgreSQL
}

var _ authority.UsageStore = (*Store)(nil)

// Connections is how many a Store that shares a database is to be given.
const Connections = 3

// Attach works with a database of PostgreSQL that has its tables ([Tables]) and
// that others write to as well; its role needs to read and write rows and no
// more. now is when the counting begins if it has not begun before. The Store
// closes db.
func Attach(ctx context.Context, db *sql.DB, now time.Time) (*Store, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return (&Store{db, true}).begin(ctx, now)
}

// begin writes the facts that are not there yet: when the counting began, and the
// rows that are locked by who adds and by who prunes. The former has the number of
// the batch that was added last. Where they are it only reads: a database that takes
// no changes now takes counts later.
func (s *Store) begin(ctx context.Context, now time.Time) (*Store, error) {
	var there int
	err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM usage_facts WHERE name IN ('since', 'added', 'pruned')`).Scan(&there)
	if err == nil && there < 3 {
		_, err = s.db.ExecContext(ctx, `INSERT INTO usage_facts (name, value) VALUES ('since', $1), ('added', 0), ('pruned', 0) ON CONFLICT (name) DO NOTHING`, now.Unix())
	}
	return s, unavailable(err)
}

// Tables is what Attach needs: names of tables and indexes, each with the statement
// that makes it. The role that executes it owns the tables.
func Tables() [][2]string {
	return append(schema(` COLLATE "C"`, `, seen bigint NOT NULL`), [2]string{"usage_keys_seen", `CREATE INDEX IF NOT EXISTS usage_keys_seen ON usage_keys (seen)`})
}

// schema is the tables. Times are Unix seconds; hours and days are those of UTC;
// bytewise stands behind the type of a text; seen is the column for the number of
// the batch that changed a row last.
func schema(bytewise, seen string) [][2]string {
	text := `text` + bytewise + ` NOT NULL`
	const counts = `allowed bigint NOT NULL, refused bigint NOT NULL`
	const span = `first_at bigint NOT NULL, last_at bigint NOT NULL`
	table := func(name, columns string) [2]string {
		return [2]string{name, `CREATE TABLE IF NOT EXISTS ` + name + ` (` + columns + `)`}
	}
	return [][2]string{
		table("usage_facts", `name `+text+` PRIMARY KEY, value bigint NOT NULL`),
		table("usage_batches", `writer `+text+` PRIMARY KEY, number bigint NOT NULL, at bigint NOT NULL`),
		table("usage_keys", `token `+text+`, kid `+text+`, `+span+`, address `+text+seen+`, PRIMARY KEY (token, kid)`),
		table("usage_hours", `token `+text+`, at bigint NOT NULL, kid `+text+`, `+counts+`, PRIMARY KEY (token, at, kid)`),
		{"usage_hours_at", `CREATE INDEX IF NOT EXISTS usage_hours_at ON usage_hours (at)`},
		table("usage_days", `token `+text+`, at bigint NOT NULL, kid `+text+`, `+counts+`, PRIMARY KEY (token, at, kid)`),
		table("usage_sources", `token `+text+`, address `+text+`, via `+text+`, kid `+text+`, `+span+`, `+counts+`, PRIMARY KEY (token, address, via)`),
		table("usage_refusals", `token `+text+`, reason `+text+`, address `+text+`, `+span+`, refused bigint NOT NULL, PRIMARY KEY (token, reason)`),
	}
}

// patience is how long a shared database is waited for; what is asked of all
// tokens takes longer.
const (
	patience       = 5 * time.Second
	patienceForAll = 30 * time.Second
)

// within bounds what is asked of a shared database.
func (s *Store) within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if !s.shared {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// update runs a transaction, and once more if it was the one that was ended so that
// another could go on.
func (s *Store) update(ctx context.Context, fn func(*sql.Tx) error) error {
	err := s.once(ctx, fn)
	var of interface{ SQLState() string }
	if errors.As(err, &of) && of.SQLState() == "40P01" { // deadlock_detected
		err = s.once(ctx, fn)
	}
	return unavailable(err)
}

func (s *Store) once(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// unavailable is how the rules know a failure.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return &authority.Error{
		Kind: authority.Unavailable, Code: "usage.unavailable", Msg: "The counts of use cannot be read or written now.", Err: fmt.Errorf("counts of use: %w", err),
	}
}

// AddUsage implements authority.UsageStore.
func (s *Store) AddUsage(ctx context.Context, b authority.UsageBatch) error {
	if !s.shared {
		return s.update(ctx, func(tx *sql.Tx) error { return addOneByOne(ctx, tx, b) })
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.update(ctx, func(tx *sql.Tx) error { return addTogether(ctx, tx, b) })
}

// isNew notes a batch, and reports whether it was not added before.
func isNew(ctx context.Context, tx *sql.Tx, b authority.UsageBatch) (bool, error) {
	done, err := tx.ExecContext(ctx, `INSERT INTO usage_batches (writer, number, at) VALUES ($1, $2, $3)
		ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at WHERE usage_batches.number < excluded.number`, b.Writer, int64(b.Number), latest(b).Unix())
	if err != nil {
		return false, err
	}
	n, err := done.RowsAffected()
	return n > 0, err
}

// latest is the end of what a batch counts.
func latest(b authority.UsageBatch) (at time.Time) {
	until := func(t time.Time) {
		if t.After(at) {
			at = t
		}
	}
	for _, r := range b.Records {
		for _, n := range slices.Concat(r.Hours, r.Days) {
			until(n.Start)
		}
		for _, k := range r.Keys {
			until(k.Last)
		}
		for _, s := range r.Sources {
			until(s.Last)
		}
		for _, f := range r.Refusals {
			until(f.Last)
		}
	}
	return at
}

// UsageSince implements authority.UsageStore.
func (s *Store) UsageSince(ctx context.Context) (time.Time, error) {
	var at int64
	err := s.db.QueryRowContext(ctx, `SELECT value FROM usage_facts WHERE name = 'since'`).Scan(&at)
	return moment(at), unavailable(err)
}

func moment(at int64) time.Time { return time.Unix(at, 0).UTC() }

// PruneUsage implements authority.UsageStore. Of several who would prune a shared
// database at one time, one does.
func (s *Store) PruneUsage(ctx context.Context, now time.Time) error {
	const day = 24 * time.Hour
	today := now.UTC().Truncate(day)
	whole := today.Add(-authority.UsageHours * time.Hour).Unix()
	horizon := today.Add(-authority.UsageDays * day).Unix()
	return s.update(ctx, func(tx *sql.Tx) error {
		if s.shared {
			var one int
			err := tx.QueryRowContext(ctx, `SELECT 1 FROM usage_facts WHERE name = 'pruned' FOR UPDATE SKIP LOCKED`).Scan(&one)
			if errors.Is(err, sql.ErrNoRows) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		for _, old := range append(s.hoursToDays(whole), []ageing{
			{`DELETE FROM usage_days WHERE at < $1`, horizon},
			{`DELETE FROM usage_keys WHERE last_at < $1`, horizon},
			{`DELETE FROM usage_sources WHERE last_at < $1`, horizon},
			{`DELETE FROM usage_refusals WHERE last_at < $1`, horizon},
			{`DELETE FROM usage_batches WHERE at < $1`, horizon},
		}...) {
			if _, err := tx.ExecContext(ctx, old.statement, old.before); err != nil {
				return err
			}
		}
		return nil
	})
}

// ageing is a statement about what was before a time.
type ageing struct {
	statement string
	before    int64
}

// hoursToDays adds hours to their days and drops them. Where others add meanwhile
// that is one statement: no hour that comes late is dropped and not added.
func (s *Store) hoursToDays(whole int64) []ageing {
	const drop = `DELETE FROM usage_hours WHERE at < $1`
	days := func(from string) string {
		return `INSERT INTO usage_days (token, at, kid, allowed, refused)
			SELECT token, at - at % 86400, kid, sum(allowed), sum(refused) FROM ` + from + ` GROUP BY token, at - at % 86400, kid
			ON CONFLICT ` + spanAgain("usage_days")
	}
	if s.shared {
		return []ageing{{`WITH gone AS (` + drop + ` RETURNING token, at, kid, allowed, refused) ` + days("gone"), whole}}
	}
	return []ageing{{days("usage_hours WHERE at < $1"), whole}, {drop, whole}}
}

// Close implements authority.UsageStore.
func (s *Store) Close() error { return s.db.Close() }
