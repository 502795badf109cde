package usage_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/usage"
)

// marked is a store that answers a higher mark each time it is looked at, and
// notes after which it was asked.
type marked struct {
	authority.UsageStore

	mu    sync.Mutex
	keys  []authority.KeyID
	err   error
	asked []uint64
}

func (m *marked) set(err error, keys ...authority.KeyID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err, m.keys = err, keys
}

// recall is what a live set does.
func (m *marked) recall(_ time.Time, load func([]authority.KeyID, func(authority.TokenID, authority.KeyUse)) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return load(m.keys, func(authority.TokenID, authority.KeyUse) {})
}

func (m *marked) UsageSince(context.Context) (time.Time, error) { return noon(), nil }

func (m *marked) LastUses(_ context.Context, _ []authority.KeyID, after uint64, _ func(authority.TokenID, authority.KeyUse)) (uint64, error) {
	if m.err != nil {
		return after, m.err
	}
	m.asked = append(m.asked, after)
	return uint64(len(m.asked)), nil
}

// looking is a ledger that looks while it runs.
func looking(t *testing.T, store *marked, shared bool) *usage.Ledger {
	t.Helper()
	l, err := usage.New(usage.Config{
		Store: store, Shared: shared, Writer: "w", Settle: func() {}, Masked: func() bool { return false }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Recall: store.recall,
	})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		must(t, <-done)
	})
	return l
}

func TestWhatOthersHaveSavedIsReadAtTheStartAndAtEachInterval(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		shared bool
		want   []uint64
	}{"shared": {true, []uint64{0, 1, 2, 0}}, "alone": {false, []uint64{0}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &marked{err: errors.New("away")}
				l := looking(t, store, c.shared)
				synctest.Wait()
				if s := l.State(); !s.Others.IsZero() {
					t.Errorf("it was read at %v", s.Others)
				}
				store.set(nil, "k1", "k2")
				for range 3 {
					time.Sleep(usage.Every)
					synctest.Wait()
				}
				store.set(nil, "k2", "k3") // of which nothing was read yet
				time.Sleep(usage.Every)
				synctest.Wait()
				if diff := cmp.Diff(c.want, store.asked); diff != "" {
					t.Errorf("asked after (-want +got):\n%s", diff)
				}
				if s := l.State(); s.Others.Equal(time.Now().UTC()) != c.shared {
					t.Errorf("it was read at %v", s.Others)
				}
			})
		})
	}
}
