package usagesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"mintmark/internal/authority"
)

// Store implements [authority.UsageStore] on a database.
type Store struct{ db *sql.DB }

var _ authority.UsageStore = (*Store)(nil)

// New makes the tables where they are missing. now is when the counting begins if
// it has not begun before. The Store closes db.
func New(ctx context.Context, db *sql.DB, now time.Time) (*Store, error) {
	s := &Store{db}
	return s, s.update(ctx, func(tx *sql.Tx) error {
		for _, statement := range schema() {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO usage_facts (name, value) VALUES ('since', $1) ON CONFLICT (name) DO NOTHING`, now.Unix())
		return err
	})
}

// schema is the tables. Times are Unix seconds; hours and days are those of UTC.
func schema() []string {
	const counts = `allowed bigint NOT NULL, refused bigint NOT NULL`
	return []string{
		`CREATE TABLE IF NOT EXISTS usage_facts (name text PRIMARY KEY, value bigint NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS usage_batches (writer text PRIMARY KEY, number bigint NOT NULL, at bigint NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS usage_keys (token text NOT NULL, kid text NOT NULL, first_at bigint NOT NULL, last_at bigint NOT NULL, address text NOT NULL,
			PRIMARY KEY (token, kid))`,
		`CREATE TABLE IF NOT EXISTS usage_hours (token text NOT NULL, at bigint NOT NULL, kid text NOT NULL, ` + counts + `, PRIMARY KEY (token, at, kid))`,
		`CREATE INDEX IF NOT EXISTS usage_hours_at ON usage_hours (at)`,
		`CREATE TABLE IF NOT EXISTS usage_days (token text NOT NULL, at bigint NOT NULL, kid text NOT NULL, ` + counts + `, PRIMARY KEY (token, at, kid))`,
		`CREATE TABLE IF NOT EXISTS usage_sources (token text NOT NULL, address text NOT NULL, via text NOT NULL, kid text NOT NULL,
			first_at bigint NOT NULL, last_at bigint NOT NULL, ` + counts + `, PRIMARY KEY (token, address, via))`,
		`CREATE TABLE IF NOT EXISTS usage_refusals (token text NOT NULL, reason text NOT NULL, address text NOT NULL,
			first_at bigint NOT NULL, last_at bigint NOT NULL, refused bigint NOT NULL, PRIMARY KEY (token, reason))`,
	}
}

func (s *Store) update(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err)
	}
	if err := fn(tx); err != nil {
		return unavailable(errors.Join(err, tx.Rollback()))
	}
	return unavailable(tx.Commit())
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
	return s.update(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO usage_batches (writer, number, at) VALUES ($1, $2, $3)
			ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at WHERE usage_batches.number < excluded.number`, b.Writer, int64(b.Number), latest(b).Unix())
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return err // it was added before
		}
		ctx := context.WithoutCancel(ctx) // the driver has a goroutine watch each statement that can be cancelled
		a, err := prepare(ctx, tx)
		if err != nil {
			return err
		}
		for i := range b.Records {
			if err := a.add(ctx, &b.Records[i]); err != nil {
				return errors.Join(err, a.close())
			}
		}
		return a.close()
	})
}

// latest is the end of what a batch counts.
func latest(b authority.UsageBatch) (at time.Time) {
	for _, r := range b.Records {
		for _, n := range r.Hours {
			if n.Start.After(at) {
				at = n.Start
			}
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

// PruneUsage implements authority.UsageStore.
func (s *Store) PruneUsage(ctx context.Context, now time.Time) error {
	const day = 24 * time.Hour
	today := now.UTC().Truncate(day)
	whole := today.Add(-authority.UsageHours * time.Hour).Unix()
	horizon := today.Add(-authority.UsageDays * day).Unix()
	return s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO usage_days (token, at, kid, allowed, refused)
			SELECT token, at - at % 86400, kid, sum(allowed), sum(refused) FROM usage_hours WHERE at < $1 GROUP BY token, at - at % 86400, kid
			ON CONFLICT (token, at, kid) DO UPDATE SET allowed = usage_days.allowed + excluded.allowed, refused = usage_days.refused + excluded.refused`, whole)
		if err != nil {
			return err
		}
		for _, old := range []struct {
			statement string
			before    int64
		}{
			{`DELETE FROM usage_hours WHERE at < $1`, whole},
			{`DELETE FROM usage_days WHERE at < $1`, horizon},
			{`DELETE FROM usage_keys WHERE last_at < $1`, horizon},
			{`DELETE FROM usage_sources WHERE last_at < $1`, horizon},
			{`DELETE FROM usage_refusals WHERE last_at < $1`, horizon},
			{`DELETE FROM usage_batches WHERE at < $1`, horizon},
		} {
			if _, err := tx.ExecContext(ctx, old.statement, old.before); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close implements authority.UsageStore.
func (s *Store) Close() error { return s.db.Close() }
