package postgres_test

import (
	"context"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/postgres"
)

func TestNodesSayThatTheyLive(t *testing.T) {
	cfg := newStore(t)
	here, there := open(t, cfg), open(t, cfg)
	state, err := here.Nodes(t.Context())
	if err != nil || len(state.Nodes) != 0 || time.Since(state.Now).Abs() > time.Minute {
		t.Fatalf("nobody has said anything: %+v, %v", state, err)
	}
	started := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	beat := func(s *postgres.Store, n authority.Node) time.Time {
		t.Helper()
		now, err := s.Beat(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	first := authority.Node{ID: "a", Name: "one", Version: "v1", Issuer: "https://i.example", StartedAt: started, Ready: true}
	beat(here, first)
	beat(there, authority.Node{ID: "b", Name: "two", StartedAt: started})
	first.Ready = false
	now := beat(here, first)
	if state, err = there.Nodes(t.Context()); err != nil || len(state.Nodes) != 2 {
		t.Fatalf("%+v, %v", state, err)
	}
	got := state.Nodes[0]
	if seen := got.SeenAt; seen.After(now) || now.Sub(seen) > time.Minute {
		t.Errorf("seen at %s, answered at %s", seen, now)
	}
	first.SeenAt, first.Revision = got.SeenAt, here.Revision()
	if got != first || state.Nodes[1].ID != "b" {
		t.Errorf("nodes %+v", state.Nodes)
	}
	if state.Revision != here.Revision() {
		t.Errorf("the head is at %d, the node at %d", state.Revision, here.Revision())
	}
}

func TestANodeThatHasStoppedIsNotListed(t *testing.T) {
	s := open(t, newStore(t))
	for _, id := range []string{"stays", "goes"} {
		if _, err := s.Beat(t.Context(), authority.Node{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Leave(t.Context(), "goes"); err != nil {
		t.Fatal(err)
	}
	state, err := s.Nodes(t.Context())
	if err != nil || len(state.Nodes) != 1 || state.Nodes[0].ID != "stays" {
		t.Errorf("%+v, %v", state, err)
	}
}

func TestANodeThatIsNotHeardOfIsForgotten(t *testing.T) {
	s := open(t, newStore(t))
	ctx := context.Background()
	if _, err := s.Beat(ctx, authority.Node{ID: "old"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DB().ExecContext(ctx, `UPDATE nodes SET seen_at = seen_at - 86400000000 - 1`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Beat(ctx, authority.Node{ID: "new"}); err != nil {
		t.Fatal(err)
	}
	state, err := s.Nodes(ctx)
	if err != nil || len(state.Nodes) != 1 || state.Nodes[0].ID != "new" {
		t.Errorf("%+v, %v", state, err)
	}
}
