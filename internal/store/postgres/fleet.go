package postgres

import (
	"context"
	"encoding/json"
	"time"

	"mintmark/internal/authority"
)

var _ authority.Fleet = (*Store)(nil)

// forgotten is after how long a node that is not heard of is not listed any more.
const forgotten = 24 * time.Hour

// storedNode is the stored form of an authority.Node.
type storedNode struct {
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	Issuer    string    `json:"issuer"`
	StartedAt time.Time `json:"started_at"`
	Ready     bool      `json:"ready"`
	Revision  uint64    `json:"revision"`
}

// beatTime bounds how long a node waits to say that it lives.
const beatTime = 2 * time.Second

// Beat implements authority.Fleet.
func (s *Store) Beat(ctx context.Context, n authority.Node) (now time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	text, err := json.Marshal(storedNode{n.Name, n.Version, n.Issuer, n.StartedAt.UTC(), n.Ready, s.Revision()})
	if err != nil {
		return now, err
	}
	// The clock is read last, so that no wait for a lock is taken for a difference.
	var micros int64
	err = s.DB().QueryRowContext(ctx, `WITH beat AS (
			INSERT INTO nodes (id, node, seen_at) VALUES ($1, $2, `+clock+`)
			ON CONFLICT (id) DO UPDATE SET node = excluded.node, seen_at = excluded.seen_at RETURNING 1
		), gone AS (DELETE FROM nodes WHERE seen_at < `+clock+` - $3::bigint RETURNING 1)
		SELECT `+clock+` FROM beat`, n.ID, string(text), forgotten.Microseconds()).Scan(&micros)
	return time.UnixMicro(micros).UTC(), s.unavailable(err)
}

// Leave implements authority.Fleet.
func (s *Store) Leave(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	_, err := s.DB().ExecContext(ctx, `DELETE FROM nodes WHERE id = $1`, id)
	return s.unavailable(err)
}

// clock is the database's, in microseconds.
const clock = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

// Nodes implements authority.Fleet.
func (s *Store) Nodes(ctx context.Context) (f authority.FleetState, err error) {
	ctx, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	rows, err := s.DB().QueryContext(ctx, `SELECT head.revision, `+clock+`, nodes.id, nodes.node, nodes.seen_at FROM head LEFT JOIN nodes ON true ORDER BY nodes.seen_at DESC, nodes.id`)
	if err != nil {
		return f, s.unavailable(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, text *string
		var now int64
		var seen *int64
		if err := rows.Scan(&f.Revision, &now, &id, &text, &seen); err != nil {
			return f, s.unavailable(err)
		}
		f.Now = time.UnixMicro(now).UTC()
		if id == nil || text == nil || seen == nil {
			continue // there is none
		}
		var n storedNode
		if err := json.Unmarshal([]byte(*text), &n); err != nil {
			continue // of a program that writes another form
		}
		f.Nodes = append(f.Nodes, authority.Node{
			ID: *id, Name: n.Name, Version: n.Version, Issuer: n.Issuer, StartedAt: n.StartedAt, SeenAt: time.UnixMicro(*seen).UTC(), Revision: n.Revision, Ready: n.Ready,
		})
	}
	return f, s.unavailable(rows.Err())
}

// codeUnavailable is the code of a store that cannot be reached.
const codeUnavailable = "store.unavailable"

// unavailable is how the rules know a failure here: nothing depends on it.
func (s *Store) unavailable(err error) error {
	if err == nil {
		return nil
	}
	return &authority.Error{Kind: authority.Unavailable, Code: codeUnavailable, Msg: "The store cannot be reached now.", Err: err}
}
