package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// A schema has a version of two numbers. A minor step only adds what an older
// program does not miss, so that both work on one database while a fleet is
// upgraded; a major step is one that an older program must not work with.
const (
	schemaMajor = 1
	schemaMinor = 0
)

// migration is one step to a version.
type migration struct {
	major, minor int
	statements   []string
}

// migrations lead from nothing to the newest schema. A step that was released
// is never changed. {c} stands for what makes a text compare bytewise, {o} for
// what lays a table out in the order of its key, {n} for a number that is one.
func migrations() []migration {
	return []migration{{schemaMajor, schemaMinor, []string{
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
		){o}`,
		`CREATE INDEX tokens_client_id ON tokens (client_fold, id)`,
		`CREATE INDEX tokens_role ON tokens (role, id)`,
		`CREATE INDEX tokens_created_at ON tokens (created_at, id)`,
		`CREATE INDEX tokens_expires_at ON tokens (expires_at, id)`,
		`CREATE INDEX tokens_last_used_at ON tokens (last_used_at, id)`,
		`CREATE INDEX tokens_deleted ON tokens (deleted_at) WHERE deleted_at IS NOT NULL`,
		`CREATE INDEX tokens_stops ON tokens (generation, stops_as, stops_at) WHERE deleted_at IS NULL`,
		`CREATE TABLE token_tags (
			fold text{c} NOT NULL,
			tag text{c} NOT NULL,
			id text{c} NOT NULL,
			PRIMARY KEY (fold, tag, id)
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
type NewerError struct{ Major int }

func (e *NewerError) Error() string {
	return fmt.Sprintf("the database has schema version %d, this program knows %d: start the version that it belongs to", e.Major, schemaMajor)
}

// ErrEmpty says that a database holds no store.
var ErrEmpty = errors.New("there is no store in the database")

// Dialect is how the schema is spelled.
type Dialect struct {
	Bytewise string // behind the type of a text
	Ordered  string // behind a table that lies in the order of its key
	Number   string // type of a number that is a key
}

// Migrate takes the schema to the newest version, in the transaction of conn,
// which keeps every other out of doing the same. fresh: there is nothing yet.
// first is a random text that no other database has, the name of its first
// revision. It reports whether anything changed.
func (d Dialect) Migrate(ctx context.Context, conn *sql.Conn, fresh bool, first string) (changed bool, err error) {
	major, minor := 0, 0
	if !fresh {
		if major, minor, err = version(ctx, conn); err != nil {
			return false, err
		}
		if major > schemaMajor {
			return false, &NewerError{major}
		}
	}
	spell := strings.NewReplacer("{c}", d.Bytewise, "{o}", d.Ordered, "{n}", d.Number)
	for _, m := range migrations() {
		if m.major < major || m.major == major && m.minor <= minor {
			continue
		}
		for _, text := range m.statements {
			if _, err := conn.ExecContext(ctx, spell.Replace(text)); err != nil {
				return false, fmt.Errorf("schema %d.%d: %w", m.major, m.minor, err)
			}
		}
		text := `UPDATE head SET major = $1, minor = $2 WHERE one = 1`
		args := []any{m.major, m.minor}
		if major == 0 {
			text = `INSERT INTO head (one, revision, batch, audit_seq, audit_hash, major, minor) VALUES (1, 0, $1, 0, '', $2, $3)`
			args = []any{first, m.major, m.minor}
		}
		if _, err := conn.ExecContext(ctx, text, args...); err != nil {
			return false, fmt.Errorf("schema %d.%d: %w", m.major, m.minor, err)
		}
		major, minor, changed = m.major, m.minor, true
	}
	return changed, nil
}

// Current tells why the schema cannot be worked with: it is newer, or older than
// this program needs.
func Current(ctx context.Context, conn *sql.Conn) (behind bool, err error) {
	major, minor, err := version(ctx, conn)
	switch {
	case err != nil:
		return false, err
	case major > schemaMajor:
		return false, &NewerError{major}
	}
	return major < schemaMajor || minor < schemaMinor, nil
}

// version reads the version of the schema; a database without a head has none.
func version(ctx context.Context, conn *sql.Conn) (major, minor int, err error) {
	err = conn.QueryRowContext(ctx, `SELECT major, minor FROM head WHERE one = 1`).Scan(&major, &minor)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrEmpty
	}
	return major, minor, err
}
