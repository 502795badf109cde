package control_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
)

// hanging is a store that does not answer until it is let go. A disk heeds no
// context; a database does.
type hanging struct {
	authority.Store
	heeds bool
	asked chan struct{}
	until chan struct{}
}

func newHanging(s authority.Store, heeds bool) *hanging {
	return &hanging{Store: s, heeds: heeds, asked: make(chan struct{}, 100), until: make(chan struct{})}
}

func (h *hanging) wait(ctx context.Context) error {
	if !h.heeds {
		ctx = context.WithoutCancel(ctx)
	}
	h.asked <- struct{}{}
	select {
	case <-h.until:
		return nil
	case <-ctx.Done():
		return authority.Unavailable
	}
}

func (h *hanging) View(ctx context.Context, fn func(authority.Tx) error) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	return h.Store.View(ctx, fn)
}

func (h *hanging) Update(ctx context.Context, fn func(authority.Tx) error) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	return h.Store.Update(ctx, fn)
}

// hang lets the store of a desk hang from now on.
func (d *desk) hang(t *testing.T, heeds bool) *hanging {
	t.Helper()
	var h *hanging
	d.wrap = func(s authority.Store) authority.Store { h = newHanging(s, heeds); return h }
	d.wire(t, d.Book)
	return h
}

func (d *desk) pending() []string {
	var out []string
	for _, c := range d.Book.Pending() {
		out = append(out, c.Action)
	}
	return out
}

func TestATrialEndsThoughTheStoreHangs(t *testing.T) {
	t.Parallel()
	d, _ := onTrial(t)
	h := d.hang(t, false)
	told := 0
	d.Changed = func() { told++ }
	same(t, "over", d.ends(t, 0), false)
	lifetime, hangs := "60d", make(chan error, 2)
	go func() {
		_, _, err := d.Stage(t.Context(), maria(), config.Lifetime, &lifetime)
		hangs <- err
	}()
	<-h.asked
	go func() { // another has waited longer than it may
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if d.CatchUp(ctx, operator()) == nil {
			t.Error("two ask the store at once")
		}
		hangs <- nil
	}()
	ended := make(chan control.Return, 1)
	go func() {
		back, err := d.EndTrial(t.Context(), operator(), 10*time.Minute)
		if err != nil {
			t.Error(err)
		}
		ended <- back
	}()
	select {
	case back := <-ended:
		same(t, "how it stands", back, control.Return{Back: true, InForce: true, Why: config.OutOfTime})
	case <-time.After(time.Minute):
		t.Fatal("the trial does not end")
	}
	same(t, "listens", d.running.Settings().Listen, here)
	same(t, "told", told, 1)
	same(t, "notes that wait", d.pending(), []string{"config.staged", "config.reverted"})
	close(h.until)
	for range 2 {
		must(t, <-hangs)
	}
	must(t, d.CatchUp(t.Context(), operator()))
	same(t, "notes that wait", len(d.pending()), 0)
	events := d.events(t)
	same(t, "the last events", events[len(events)-2:], []string{"config.staged 5", "config.reverted 6"})
}

// Who looks for trials has other things to do as well.
func TestAMoveThatTakesLongHoldsUpNobodyWhoEndsTrials(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.Store: "tokens.json"})
	moves, until, applied := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	d.SwitchStore = func(_ context.Context, _ string, commit func() error) (control.Carried, error) {
		close(moves)
		<-until
		return control.Carried{}, commit()
	}
	d.stage(t, config.Store, d.file(t, "other.json", ""))
	go func() {
		_, err := d.Apply(t.Context(), maria(), 0, 0)
		applied <- err
	}()
	<-moves
	looked := make(chan bool, 1)
	go func() { looked <- d.ends(t, time.Hour) }()
	select {
	case over := <-looked:
		same(t, "over", over, false)
	case <-time.After(time.Minute):
		t.Error("it waits")
	}
	close(until)
	must(t, <-applied)
}

func TestAChangeDoesNotWaitLongForAStoreThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, map[string]string{config.Listen: here})
		h := d.hang(t, true)
		began := time.Now()
		d.stage(t, config.Lifetime, "60d")
		same(t, "a stage waits", time.Since(began), 5*time.Second)
		d.apply(t)
		same(t, "both wait", time.Since(began), 10*time.Second)
		same(t, "in force", d.running.Settings().Lifetime, 60*24*time.Hour)
		d.stage(t, config.Algorithm, "EdDSA")
		_, err := d.Apply(t.Context(), maria(), 0, 0)
		wantCode(t, err, authority.Unavailable, "config.next_key")
		same(t, "all wait", time.Since(began), 20*time.Second)
		same(t, "in force", d.running.Settings().Algorithm, "EdDSA")
		same(t, "notes that wait", d.pending(), []string{"config.staged", "config.applied", "config.staged", "config.applied"})
		close(h.until)
		must(t, d.CatchUp(t.Context(), operator()))
		same(t, "notes that wait", len(d.pending()), 0)
		d.nextIs(t, "EdDSA")
	})
}

func TestTheKeyThatATrialWentBackToIsMadeWhenThatCanBe(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.Listen: here, config.Store: "tokens.json"})
	d.stage(t, config.Listen, there)
	d.stage(t, config.Algorithm, "EdDSA")
	_, err := d.Apply(t.Context(), maria(), 0, 10*time.Minute)
	must(t, err)
	disk := new(failingFrom)
	d.wrap = func(s authority.Store) authority.Store { disk.Store = s; return disk }
	d.reopen(t)
	same(t, "over", d.ends(t, 0), false)
	same(t, "over after 10 minutes", d.ends(t, 10*time.Minute), true)
	same(t, "listens", d.running.Settings().Listen, here)
	wantCode(t, d.CatchUp(t.Context(), operator()), authority.Unavailable, "config.next_key")
	d.nextIs(t, "EdDSA")
	disk.n = 2 // the key and the note
	must(t, d.CatchUp(t.Context(), operator()))
	d.nextIs(t, "ES256")
	same(t, "notes that wait", len(d.pending()), 0)
}

// A start goes back without the rules, which make keys.
func TestTheKeyThatAStartWentBackToIsMade(t *testing.T) {
	t.Parallel()
	d := newDesk(t, map[string]string{config.Listen: here, config.Store: "tokens.json"})
	d.stage(t, config.Listen, there)
	d.stage(t, config.Algorithm, "EdDSA")
	_, err := d.Apply(t.Context(), maria(), 0, time.Minute)
	must(t, err)
	d.nextIs(t, "EdDSA")
	over, err := d.Book.EndTrial(d.now().Add(time.Hour))
	must(t, err)
	same(t, "over", over, true)
	d.restart(t)
	d.nextIs(t, "ES256")
	d.restart(t)
	page, err := d.authority.Audit(t.Context(), operator(), authority.AuditQuery{Action: "key.next_renewed", Limit: 5})
	must(t, err)
	same(t, "keys made", len(page.Events), 2)
}

func (d *desk) nextIs(t *testing.T, want string) {
	t.Helper()
	_, next := d.algorithms(t)
	same(t, "the next key", next, want)
}
