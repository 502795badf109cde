package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// Step leads to a version of the schema, which has two numbers. A minor step only
// adds what an older program does not miss, so that both work on one database
// while a fleet is upgraded; a major step is one that an older program must not
// work with.
type Step struct {
	Major, Minor int
	Statements   []string
}

// Steps lead from nothing to the schema that this program needs, oldest first. A
// step that was released is never changed. {c} stands for what makes a text
// compare bytewise, {o} for what lays a table out in the order of its key, {n} for
// a number that is one.
func Steps() []Step {
	return []Step{{1, 0, []string{
		`CREATE TABLE head (
			one {n} PRIMARY KEY CHECK (one = 1),
			revision bigint NOT NULL,
			batch text NOT NULL,
			audit_seq bigint NOT NULL,
			audit_hash text NOT NULL,
			major bigint NOT NULL,
			minor bigint NOT NULL
		)`,
		`CREATE TABLE commits (
			revision {n} PRIMARY KEY,
			batch text NOT NULL,
			keys text NOT NULL
		)`,
		`CREATE TABLE tokens (
			id text{c} PRIMARY KEY,
			client_id text{c} NOT NULL,
			client_fold text{c} NOT NULL,
			role text{c} NOT NULL,
			tags text NOT NULL,
			tags_fold text{c} NOT NULL,
			issuer text NOT NULL,
			audience text NOT NULL,
			kid text NOT NULL,
			generation bigint NOT NULL,
			created_at bigint,
			created_by text NOT NULL,
			expires_at bigint,
			deleted_at bigint,
			ends_at bigint,
			stops_at bigint,
			stops_as text{c} NOT NULL,
			description text NOT NULL,
			contact text NOT NULL,
			more text NOT NULL,
			last_used_at bigint
		)`,
		`CREATE INDEX tokens_client_id ON tokens (client_fold, id, deleted_at, generation, stops_as, stops_at, role, expires_at)`,
		`CREATE INDEX tokens_role ON tokens (role, id, deleted_at, generation, stops_as, stops_at, expires_at)`,
		`CREATE INDEX tokens_created_at ON tokens (created_at, id, deleted_at, generation, stops_as, stops_at, role, expires_at)`,
		`CREATE INDEX tokens_expires_at ON tokens (expires_at, id, deleted_at, generation, stops_as, stops_at, role)`,
		`CREATE INDEX tokens_last_used_at ON tokens (last_used_at, id, deleted_at, generation, stops_as, stops_at, role, expires_at)`,
		`CREATE INDEX tokens_deleted ON tokens (deleted_at, id) WHERE deleted_at IS NOT NULL`,
		`CREATE INDEX tokens_stops ON tokens (generation, stops_as, stops_at, id, expires_at) WHERE deleted_at IS NULL`,
		`CREATE TABLE token_tags (
			fold text{c} NOT NULL,
			tag text{c} NOT NULL,
			role text{c} NOT NULL,
			id text{c} NOT NULL,
			PRIMARY KEY (fold, tag, role, id)
		){o}`,
		`CREATE TABLE records (
			kind text{c} NOT NULL,
			id text{c} NOT NULL,
			record text NOT NULL,
			PRIMARY KEY (kind, id)
		){o}`,
		`CREATE TABLE audit (
			seq {n} PRIMARY KEY,
			at text{c} NOT NULL,
			actor text{c} NOT NULL,
			action text{c} NOT NULL,
			target text{c} NOT NULL,
			label text{c} NOT NULL,
			outcome text{c} NOT NULL,
			event text NOT NULL
		)`,
		`CREATE TABLE nodes (
			id text PRIMARY KEY,
			node text NOT NULL,
			seen_at bigint NOT NULL
		)`,
		`CREATE INDEX audit_target ON audit (target, seq)`,
		`CREATE INDEX audit_label ON audit (label, seq)`,
	}}}
}

// NewerError says that a newer program made the schema what it is.
type NewerError struct{ Major, Known int }

func (e *NewerError) Error() string {
	return fmt.Sprintf("the database has schema version %d, this program knows %d: start the version that it belongs to", e.Major, e.Known)
}

// ErrEmpty says that a database holds no store.
var ErrEmpty = errors.New("there is no store in the database")

// Dialect is how the schema is spelled.
type Dialect struct {
	Bytewise string // behind the type of a text
	Ordered  string // behind a table that lies in the order of its key
	Number   string // type of a number that is a key
	Steps    []Step // to the schema that the program needs; the last is its version
}

// Version is that of a schema.
type Version struct{ Major, Minor int }

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

func (v Version) before(other Version) bool {
	return v.Major < other.Major || v.Major == other.Major && v.Minor < other.Minor
}

// needed is the version of the last step.
func (d Dialect) needed() Version {
	last := d.Steps[len(d.Steps)-1]
	return Version{last.Major, last.Minor}
}

// Migrate takes the schema to the newest version, in the transaction of conn,
// which keeps every other out of doing the same. fresh: there is nothing yet.
// first is a random text that no other database has, the name of its first
// revision. It answers the versions before and after.
func (d Dialect) Migrate(ctx context.Context, conn *sql.Conn, fresh bool, first string) (before, after Version, err error) {
	if !fresh {
		if before, _, err = d.Current(ctx, conn); err != nil {
			return before, before, err
		}
	}
	spell := strings.NewReplacer("{c}", d.Bytewise, "{o}", d.Ordered, "{n}", d.Number)
	after = before
	for _, step := range d.Steps {
		to := Version{step.Major, step.Minor}
		if !after.before(to) {
			continue
		}
		for _, text := range step.Statements {
			if _, err := conn.ExecContext(ctx, spell.Replace(text)); err != nil {
				return before, before, fmt.Errorf("schema %s: %w", to, err)
			}
		}
		text := `UPDATE head SET major = $1, minor = $2 WHERE one = 1`
		args := []any{to.Major, to.Minor}
		if after.Major == 0 {
			text = `INSERT INTO head (one, revision, batch, audit_seq, audit_hash, major, minor) VALUES (1, 0, $1, 0, '', $2, $3)`
			args = []any{first, to.Major, to.Minor}
		}
		if _, err := conn.ExecContext(ctx, text, args...); err != nil {
			return before, before, fmt.Errorf("schema %s: %w", to, err)
		}
		after = to
	}
	return before, after, nil
}

// Current answers the version of the schema and whether it is older than the
// program needs. One that an older program must not work with is a NewerError.
func (d Dialect) Current(ctx context.Context, conn *sql.Conn) (at Version, behind bool, err error) {
	err = conn.QueryRowContext(ctx, `SELECT major, minor FROM head WHERE one = 1`).Scan(&at.Major, &at.Minor)
	switch known := d.needed(); {
	case errors.Is(err, sql.ErrNoRows):
		return at, false, ErrEmpty
	case err != nil:
		return at, false, err
	case at.Major > known.Major:
		return at, false, &NewerError{at.Major, known.Major}
	default:
		return at, at.before(known), nil
	}
}
