package main

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/store/move"
)

// stuck is a store that fails to close, once it is closed.
type stuck struct{ authority.Store }

func (s stuck) Close() error { return errors.Join(s.Store.Close(), errors.New("input/output error")) }

// It is not needed any more, and the one that has the state is.
func TestAStoreThatDoesNotCloseUndoesNoMove(t *testing.T) {
	t.Parallel()
	s, _ := follower(t, initialised(t, free(t)), slog.DiscardHandler)
	s.store = move.New(stuck{s.store.Present()})
	committed := false
	_, err := s.switchStore(t.Context(), "sqlite:"+filepath.Join(string(s.dir), "state.db"), func() error {
		committed = true
		return nil
	})
	if err != nil || !committed || s.store.Facts().Kind != "sqlite" {
		t.Errorf("committed: %t, to %s: %v", committed, s.store.Facts().Kind, err)
	}
	if err := s.store.View(t.Context(), func(authority.Tx) error { return nil }); err != nil {
		t.Errorf("what has the state now: %v", err)
	}
}
