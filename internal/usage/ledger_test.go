package usage_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mintmark/internal/authority"
	"mintmark/internal/store/usagesql"
	"mintmark/internal/usage"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func noon() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }

// faulty is a store whose writes fail as the test says: before they are done, or
// after.
type faulty struct {
	authority.UsageStore

	mu            sync.Mutex
	before, after error
	writes        int
}

func (f *faulty) AddUsage(ctx context.Context, b authority.UsageBatch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.before != nil {
		return f.before
	}
	return errors.Join(f.UsageStore.AddUsage(ctx, b), f.after)
}

func (f *faulty) fail(before, after error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

// keeper is told of last uses, if it takes them.
type keeper struct {
	err   error
	told  map[authority.TokenID]time.Time
	heard func() // may be nil
}

func (k *keeper) UsedAt(_ context.Context, uses []authority.Used) error {
	if k.err != nil {
		return k.err
	}
	k.told = make(map[authority.TokenID]time.Time)
	for _, u := range uses {
		k.told[u.ID] = u.At
	}
	if k.heard != nil {
		k.heard()
	}
	return nil
}

// desk is a ledger with a clock that the test sets.
type desk struct {
	*usage.Ledger
	store  *faulty
	keeper *keeper
	path   string
	now    time.Time
	masked bool
}

// open opens the ledger of a home, or with "" one without a store.
func open(t testing.TB, path string) *desk {
	t.Helper()
	d := &desk{path: path, now: noon(), keeper: new(keeper)}
	c := usage.Config{
		Writer: fmt.Sprintf("%p", d), Keeper: d.keeper, Settle: func() {}, Masked: func() bool { return d.masked }, Now: func() time.Time { return d.now }, Log: slog.New(slog.DiscardHandler),
		Recall: func(_ time.Time, load func([]authority.KeyID, func(authority.TokenID, authority.KeyUse)) error) error {
			return load([]authority.KeyID{"k1", "k2"}, func(authority.TokenID, authority.KeyUse) {})
		},
	}
	if path != "" {
		s, _, err := usagesql.Open(t.Context(), path, noon())
		must(t, err)
		t.Cleanup(func() { _ = s.Close() })
		d.store = &faulty{UsageStore: s}
		c.Store = d.store
	}
	var err error
	d.Ledger, err = usage.New(c)
	must(t, err)
	return d
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "usage.db") }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func (d *desk) allow(id authority.TokenID, from string, n uint64) {
	at := uint32(d.now.Unix())
	d.Count(authority.Counted{Token: id, Key: "k1", From: addr(from), First: at, Last: at, Count: n})
}

func (d *desk) refuse(id authority.TokenID, reason, from string) {
	at := uint32(d.now.Unix())
	d.Count(authority.Counted{Token: id, Key: "k1", Refused: reason, From: addr(from), First: at, Last: at, Count: 1})
}

func (d *desk) record(t testing.TB, id authority.TokenID) authority.UsageRecord {
	t.Helper()
	r, err := d.Record(t.Context(), id)
	must(t, err)
	return r
}

func total(r authority.UsageRecord) (allowed, refused uint64) {
	for _, n := range append(r.Hours, r.Days...) {
		allowed, refused = allowed+n.Allowed, refused+n.Refused
	}
	return allowed, refused
}

func wantTotal(t *testing.T, r authority.UsageRecord, allowed, refused uint64) {
	t.Helper()
	if a, f := total(r); a != allowed || f != refused {
		t.Errorf("%d allowed and %d refused, want %d and %d", a, f, allowed, refused)
	}
}

func TestAnAnswerHoldsWhatIsStoredAndWhatIsNot(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"in a home": file(t), "in memory": ""} {
		t.Run(name, func(t *testing.T) {
			d := open(t, path)
			d.allow("a", "10.0.0.1", 3)
			d.refuse("a", "expired", "10.0.0.2")
			must(t, d.Flush(t.Context()))
			d.now = noon().Add(time.Hour)
			d.allow("a", "10.0.0.1", 4)
			d.allow("b", "10.0.0.1", 9)
			want := authority.UsageRecord{
				Token: "a", Keys: []authority.KeyUse{{Key: "k1", First: noon(), Last: d.now, From: "10.0.0.1"}},
				Hours: []authority.UsageCount{{Start: noon(), Key: "k1", Allowed: 3, Refused: 1}, {Start: d.now, Key: "k1", Allowed: 4}},
				Sources: []authority.UsageSource{
					{From: "10.0.0.1", Key: "k1", First: noon(), Last: d.now, Allowed: 7}, {From: "10.0.0.2", First: noon(), Last: noon(), Refused: 1},
				},
				Refusals: []authority.UsageRefusal{{Reason: "expired", From: "10.0.0.2", First: noon(), Last: noon(), Count: 1}},
			}
			for range 2 {
				if diff := cmp.Diff(want, d.record(t, "a"), cmpopts.SortSlices(func(a, b authority.UsageCount) bool { return a.Start.Before(b.Start) })); diff != "" {
					t.Errorf("the record (-want +got):\n%s", diff)
				}
				must(t, d.Flush(t.Context()))
			}
			sums, err := d.Sums(t.Context(), noon().Add(time.Hour), nil)
			must(t, err)
			byToken := cmpopts.SortSlices(func(a, b authority.UsageSum) bool { return a.Token < b.Token })
			if diff := cmp.Diff([]authority.UsageSum{{Token: "a", Key: "k1", Count: 4}, {Token: "b", Key: "k1", Count: 9}}, sums, byToken); diff != "" {
				t.Errorf("sums (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCountsSurviveARestart(t *testing.T) {
	t.Parallel()
	path := file(t)
	d := open(t, path)
	d.allow("a", "10.0.0.1", 3)
	must(t, d.Flush(t.Context()))
	if s := d.State(); !s.Durable || !s.Saved.Equal(noon()) || s.Problem != "" {
		t.Errorf("state %+v", s)
	}
	must(t, d.store.Close())
	wantTotal(t, open(t, path).record(t, "a"), 3, 0)
}

func TestAFailedFlushIsKeptAndTriedAgain(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct{ before, after error }{
		"before it was done": {before: errors.New("no space")}, "after it was done": {after: errors.New("connection lost")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t, file(t))
			for n := range 3000 { // more than a batch
				d.allow(authority.TokenID(fmt.Sprint("t", n)), "10.0.0.1", 1)
			}
			d.store.fail(fault.before, fault.after)
			if err := d.Flush(t.Context()); err == nil {
				t.Fatal("the failure is not told")
			}
			if s := d.State(); s.Problem == "" || !s.Saved.IsZero() {
				t.Errorf("state %+v", s)
			}
			for n := range 3000 {
				d.allow(authority.TokenID(fmt.Sprint("t", n)), "10.0.0.1", 1)
			}
			_ = d.Flush(t.Context())
			d.store.fail(nil, nil)
			for range 3 {
				must(t, d.Flush(t.Context()))
			}
			if s := d.State(); s.Problem != "" || s.Saved.IsZero() || s.Lost != 0 {
				t.Errorf("state %+v", s)
			}
			sums, err := d.Sums(t.Context(), noon(), nil)
			must(t, err)
			for _, one := range sums {
				if one.Count != 2 {
					t.Errorf("%+v", one)
				}
			}
			if len(sums) != 3000 {
				t.Errorf("%d tokens", len(sums))
			}
		})
	}
}

func TestTheOrderByLastUseIsToldAfterEachFlush(t *testing.T) {
	t.Parallel()
	d := open(t, file(t))
	d.allow("a", "10.0.0.1", 1)
	d.refuse("refused", "tag_missing", "10.0.0.1")
	d.keeper.err = errors.New("the store is away")
	must(t, d.Flush(t.Context())) // the counts are kept all the same
	d.now = noon().Add(time.Minute)
	d.allow("b", "10.0.0.1", 1)
	d.keeper.err = nil
	must(t, d.Flush(t.Context()))
	if diff := cmp.Diff(map[authority.TokenID]time.Time{"a": noon(), "b": d.now}, d.keeper.told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	d.keeper.told = nil
	must(t, d.Flush(t.Context()))
	if d.keeper.told != nil {
		t.Errorf("told again: %v", d.keeper.told)
	}
}

func TestCountingAsksNoStore(t *testing.T) {
	t.Parallel()
	d := open(t, file(t))
	d.store.fail(errors.New("every write fails"), nil)
	for n := range 50_000 {
		d.allow(authority.TokenID(fmt.Sprint("t", n%100)), "10.0.0.1", 1)
		d.refuse("", "unknown_token", "10.0.0.2")
	}
	if d.store.writes != 0 {
		t.Errorf("%d writes", d.store.writes)
	}
	wantTotal(t, d.record(t, "t1"), 500, 0)
	wantTotal(t, d.record(t, ""), 0, 50_000)
}

func TestSourcesAndTokensThatAreNotKnownAreBounded(t *testing.T) {
	t.Parallel()
	d := open(t, file(t))
	for n := range 2000 {
		from := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}).String()
		d.now = noon().Add(time.Duration(n) * time.Millisecond)
		d.allow("a", from, 1)
		d.refuse("", "unknown_token", from)
		if n%500 == 499 {
			must(t, d.Flush(t.Context()))
		}
	}
	for id, want := range map[authority.TokenID][2]uint64{"a": {2000, 0}, "": {0, 2000}} {
		r := d.record(t, id)
		wantTotal(t, r, want[0], want[1])
		sum := uint64(0)
		for _, s := range r.Sources {
			sum += s.Allowed + s.Refused
		}
		if last := r.Sources[len(r.Sources)-1]; len(r.Sources) != authority.MaxSources+1 || last.From != "" || sum != 2000 {
			t.Errorf("%q has %d sources with %d requests, and the last is %+v", id, len(r.Sources), sum, last)
		}
	}
	if r := d.record(t, ""); len(r.Refusals) != 1 || r.Refusals[0].Count != 2000 {
		t.Errorf("refusals %+v", r.Refusals)
	}
}

func TestAddressesAreKeptMaskedWhenTheyAreToBe(t *testing.T) {
	t.Parallel()
	d := open(t, file(t))
	d.masked = true
	for _, from := range []string{"10.1.2.3", "10.1.2.77", "::ffff:10.1.2.4", "2001:db8:1:2::3", "2001:db8:1:ff::9"} {
		d.allow("a", from, 1)
	}
	for range 2 {
		var got []string
		for _, s := range d.record(t, "a").Sources {
			got = append(got, fmt.Sprint(s.From, " ", s.Allowed))
		}
		if diff := cmp.Diff([]string{"10.1.2.0/24 3", "2001:db8:1::/48 2"}, got); diff != "" {
			t.Errorf("sources (-want +got):\n%s", diff)
		}
		must(t, d.Flush(t.Context()))
	}
}

func TestCountsAreExactWhileTheyAreFlushedAndRead(t *testing.T) {
	t.Parallel()
	d := open(t, file(t))
	const workers, rounds = 4, 3000
	var wg, beside sync.WaitGroup
	done := make(chan struct{})
	until := func(do func() error) {
		beside.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := do(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	until(func() error { return d.Flush(t.Context()) })
	least := uint64(0)
	until(func() error {
		r, err := d.Record(t.Context(), "t1")
		if n, _ := total(r); n < least {
			return fmt.Errorf("%d requests, and before it were %d", n, least)
		} else {
			least = n
		}
		return err
	})
	for w := range workers {
		wg.Go(func() {
			for n := range rounds {
				d.allow(authority.TokenID(fmt.Sprint("t", n%3)), fmt.Sprintf("10.0.0.%d", (n+w)%5), 1)
				if n%7 == 0 {
					d.refuse(authority.TokenID(fmt.Sprint("t", n%3)), "tag_missing", "10.0.0.1")
				}
			}
		})
	}
	wg.Wait()
	close(done)
	beside.Wait()
	must(t, d.Flush(t.Context()))
	allowed, refused := uint64(0), uint64(0)
	for n := range 3 {
		a, f := total(d.record(t, authority.TokenID(fmt.Sprint("t", n))))
		allowed, refused = allowed+a, refused+f
	}
	if want := uint64(workers * ((rounds + 6) / 7)); allowed != workers*rounds || refused != want {
		t.Errorf("%d allowed and %d refused, want %d and %d", allowed, refused, workers*rounds, want)
	}
}

func TestAStoreThatNeverWritesCostsNoMoreThanSomeMemory(t *testing.T) {
	t.Parallel()
	written := &noted{}
	store := &faulty{UsageStore: written, before: errors.New("no space")}
	l, err := usage.New(usage.Config{
		Store: store, Writer: "w", Settle: func() {}, Masked: func() bool { return false }, Now: noon, Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	given := uint64(0)
	allow := func(n int) {
		at := uint32(noon().Unix())
		l.Count(authority.Counted{Token: authority.TokenID(fmt.Sprint("t", n)), Key: "k1", From: addr("10.0.0.1"), First: at, Last: at, Count: 1})
		given++
	}
	for n := range 1 << 19 {
		allow(n)
	}
	_ = l.Flush(t.Context())
	s := l.State()
	if s.Problem == "" || s.Lost == 0 || s.Lost > 1<<18 {
		t.Fatalf("state %+v", s)
	}
	allow(1) // all room is taken by what waits
	store.fail(nil, nil)
	must(t, l.Flush(t.Context()))
	allow(1)
	must(t, l.Flush(t.Context()))
	if after := l.State(); after.Lost != s.Lost+1 || after.Problem != "" || written.sum() != given-after.Lost {
		t.Errorf("state %+v, %d written of %d", after, written.sum(), given)
	}
}

func TestWithoutAStoreOldCountsMakeRoom(t *testing.T) {
	t.Parallel()
	d := open(t, "")
	for n := range 100 * 24 {
		d.now = noon().Add(time.Duration(n) * time.Hour)
		d.allow("a", "10.0.0.1", 1)
	}
	d.allow("b", "10.0.0.1", 1)
	must(t, d.Prune(t.Context(), d.now))
	r := d.record(t, "a")
	if len(r.Hours) > authority.UsageHours+24 || len(r.Days) > authority.UsageDays {
		t.Errorf("%d hours and %d days", len(r.Hours), len(r.Days))
	}
	if n, _ := total(r); n < 90*24 || n > 91*24 {
		t.Errorf("%d requests", n)
	}
	must(t, d.Prune(t.Context(), d.now.Add(91*24*time.Hour)))
	if r := d.record(t, "b"); len(r.Sources)+len(r.Keys)+len(r.Hours)+len(r.Days) != 0 {
		t.Errorf("still there: %+v", r)
	}
}

func TestTheClockMayJump(t *testing.T) {
	t.Parallel()
	d := open(t, file(t))
	for _, at := range []time.Time{noon(), noon().AddDate(10, 0, 0), noon().Add(-time.Hour), noon()} {
		d.now = at
		d.allow("a", "10.0.0.1", 1)
		must(t, d.Flush(t.Context()))
	}
	r := d.record(t, "a")
	wantTotal(t, r, 4, 0)
	if !r.Keys[0].First.Equal(noon().Add(-time.Hour)) || len(r.Hours) != 3 {
		t.Errorf("%+v", r)
	}
}

func TestRunFlushesInTimeAndAtTheStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		written := &noted{}
		l, err := usage.New(usage.Config{
			Store: written, Writer: "w", Settle: func() {}, Masked: func() bool { return false }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		})
		must(t, err)
		count := func() {
			at := uint32(time.Now().Unix())
			l.Count(authority.Counted{Token: "a", Key: "k1", First: at, Last: at, Count: 1})
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		count()
		time.Sleep(usage.Every - time.Second)
		synctest.Wait()
		if n := written.sum(); n != 0 {
			t.Errorf("%d written too early", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := written.sum(); n != 1 {
			t.Errorf("%d written after the interval", n)
		}
		count()
		stop()
		must(t, <-done)
		if n := written.sum(); n != 2 {
			t.Errorf("%d written after the stop", n)
		}
	})
}

// noted is a store that only adds up.
type noted struct {
	authority.UsageStore
	mu    sync.Mutex
	total uint64
}

func (n *noted) AddUsage(_ context.Context, b authority.UsageBatch) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range b.Records {
		a, _ := total(r)
		n.total += a
	}
	return nil
}

func (n *noted) sum() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.total
}

// The bound is 64 MiB for 100,000 tokens with 5 sources each, all of which wait for
// the store; it is the heap that is in use more than before.
func TestCountsOfManyTokensTakeLittleMemory(t *testing.T) { //nolint:paralleltest // it looks at the whole heap
	d := open(t, "")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range 100_000 {
		id := authority.TokenID(fmt.Sprintf("tok_%026d", n))
		for s := range 5 {
			d.allow(id, netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), byte(s)}).String(), 1)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	took := float64(after.HeapAlloc-before.HeapAlloc) / (1 << 20)
	t.Logf("%.1f MiB", took)
	if took > 64 {
		t.Errorf("%.1f MiB", took)
	}
	wantTotal(t, d.record(t, "tok_00000000000000000000000007"), 5, 0)
}

func BenchmarkCount(b *testing.B) {
	d := open(b, "")
	at := uint32(noon().Unix())
	b.Run("refusal of a token that nobody knows", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			d.Count(authority.Counted{Refused: "unknown_token", From: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), First: at, Last: at, Count: 1})
		}
	})
	b.Run("use of a token", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			d.Count(authority.Counted{Token: "tok_a", Key: "k1", From: addr("10.0.0.1"), First: at, Last: at, Count: 1})
		}
	})
}
