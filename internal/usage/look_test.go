package usage_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
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

// It was away, or is another one that a backup was restored into.
func TestAStoreIsToldAtTheStartWhatItMissedOfLastUses(t *testing.T) {
	t.Parallel()
	path := file(t)
	before := open(t, path)
	before.keeper.err = errors.New("away")
	before.allow("a", "10.0.0.1", 1)
	before.allow("b", "10.0.0.1", 1)
	earlier := uint32(before.now.Add(-time.Minute).Unix())
	before.Count(authority.Counted{Token: "b", Key: "k2", First: earlier, Last: earlier, Count: 1})
	must(t, before.Flush(t.Context()))
	before.now = noon().Add(time.Minute)
	before.Count(authority.Counted{Token: "a", Key: "k2", First: uint32(before.now.Unix()), Last: uint32(before.now.Unix()), Count: 1})
	must(t, before.Flush(t.Context()))

	after := open(t, path)
	after.keeper.err = errors.New("still away")
	must(t, after.Look(t.Context()))
	must(t, after.Flush(t.Context()))
	after.keeper.err = nil
	must(t, after.Flush(t.Context()))
	want := map[authority.TokenID]time.Time{"a": noon().Add(time.Minute), "b": noon()}
	if diff := cmp.Diff(want, after.keeper.told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// crowd is a store with last uses of very many tokens.
type crowd struct {
	authority.UsageStore
	size int
}

func (c crowd) LastUses(_ context.Context, _ []authority.KeyID, _ uint64, each func(authority.TokenID, authority.KeyUse)) (uint64, error) {
	for i := range c.size {
		each(authority.TokenID(strconv.Itoa(i)), authority.KeyUse{Key: "k1", First: noon(), Last: noon()})
	}
	return 0, nil
}

func TestAStoreThatWasAwayIsToldOfEveryTokenHoweverMany(t *testing.T) {
	t.Parallel()
	const size = 1<<20 + 1
	d := open(t, file(t))
	d.store.UsageStore = crowd{d.store.UsageStore, size}
	d.keeper.err = errors.New("away")
	must(t, d.Look(t.Context()))
	must(t, d.Flush(t.Context()))
	d.keeper.err = nil
	must(t, d.Flush(t.Context()))
	if n := len(d.keeper.told); n != size {
		t.Errorf("it was told of %d tokens, want %d", n, size)
	}
}

func TestAStoreIsToldOfLastUsesWhenTheFirstLookIsDone(t *testing.T) {
	t.Parallel()
	before := open(t, file(t))
	before.allow("a", "10.0.0.1", 1)
	must(t, before.Flush(t.Context()))
	ctx, stop := context.WithTimeout(t.Context(), usage.Every/2)
	after := open(t, before.path)
	after.keeper.heard = stop
	must(t, after.Run(ctx))
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Error("it was told late")
	}
	if diff := cmp.Diff(map[authority.TokenID]time.Time{"a": noon()}, after.keeper.told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
