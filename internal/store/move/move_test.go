package move_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/liveset"
	"mintmark/internal/password"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/move"
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/postgrestest"
	"mintmark/internal/store/sqlite"
	"mintmark/internal/store/storetest"
)

// kind is a kind of store: create makes an empty one in a folder, open opens it
// again.
type kind struct {
	name   string
	atOnce int
	create func(t testing.TB, dir string)
	open   func(t testing.TB, dir string) authority.Store
}

func kinds() []kind {
	files := durable.Files{}
	sqliteAt := func(dir string) sqlite.Config {
		return sqlite.Config{Path: filepath.Join(dir, "mint.db"), Files: files, Now: time.Now, Rand: rand.Reader}
	}
	return []kind{
		{
			"memory", 0, func(testing.TB, string) {},
			func(t testing.TB, _ string) authority.Store {
				s, err := mapstore.Open(mapstore.Config{Now: time.Now})
				must(t, err)
				return s
			},
		},
		{
			"json", 0, func(t testing.TB, dir string) {
				must(t, mapstore.Create(mapstore.Config{Home: dir, Files: files}))
				must(t, mapstore.CreateTokens(files, filepath.Join(dir, "tokens.json")))
			},
			func(t testing.TB, dir string) authority.Store {
				s, err := mapstore.Open(mapstore.Config{Home: dir, Tokens: filepath.Join(dir, "tokens.json"), Files: files, Now: time.Now})
				must(t, err)
				return s
			},
		},
		{
			"sqlite", 10_000, func(t testing.TB, dir string) { must(t, sqlite.Create(context.Background(), sqliteAt(dir))) },
			func(t testing.TB, dir string) authority.Store {
				s, err := sqlite.Open(context.Background(), sqliteAt(dir))
				must(t, err)
				return s
			},
		},
		{
			"postgres", 10_000, func(t testing.TB, dir string) {
				address := postgrestest.Shared(t).Schema(t)
				must(t, postgres.Create(context.Background(), postgresAt(address)))
				must(t, os.WriteFile(filepath.Join(dir, "address"), []byte(address), 0o600))
			},
			func(t testing.TB, dir string) authority.Store {
				address, err := os.ReadFile(filepath.Join(dir, "address"))
				must(t, err)
				s, err := postgres.Open(context.Background(), postgresAt(string(address)))
				must(t, err)
				return s
			},
		},
	}
}

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

func postgresAt(address string) postgres.Config {
	return postgres.Config{URL: address, Now: time.Now, Rand: rand.Reader}
}

func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pairs runs a test from every kind of store to every kind.
func pairs(t *testing.T, test func(t *testing.T, from, to kind)) {
	t.Helper()
	for _, from := range kinds() {
		for _, to := range kinds() {
			t.Run(from.name+" to "+to.name, func(t *testing.T) { test(t, from, to) })
		}
	}
}

func fresh(t testing.TB, k kind) authority.Store {
	t.Helper()
	dir := folder(t)
	k.create(t, dir)
	s := k.open(t, dir)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// office is an authority whose store can move, with its live set and keyring.
type office struct {
	*authority.Authority
	store *move.Switching
	live  *liveset.Set
	ring  *signing.Ring
}

type unused struct{}

func (unused) LastUse(authority.TokenID) authority.Use             { return authority.Use{} }
func (unused) KeyUses(authority.TokenID) []authority.KeyUse        { return nil }
func (unused) Since() time.Time                                    { return time.Time{} }
func (unused) TrialRefusals(authority.TokenID) (uint64, time.Time) { return 0, time.Time{} }

func operator() authority.Caller {
	return authority.LocalOperator("root@tokens-01", authority.Origin{})
}

func newOffice(t testing.TB, s authority.Store) *office {
	t.Helper()
	o := &office{store: move.New(s), ring: signing.InMemory(rand.Reader)}
	var err error
	o.live, err = liveset.New(liveset.Config{
		Verifier: o.ring.Verifier, Now: time.Now, LoginIdle: func() time.Duration { return time.Hour },
		Audience: func() []string { return []string{"https://api.example"} }, LoginIssuer: func() string { return "https://tokens.example" },
		Record: func(id authority.TokenID) (authority.Token, error) {
			return authority.ReadToken(context.Background(), o.store, id)
		},
	})
	must(t, err)
	o.Authority, err = authority.New(authority.Config{
		Store: o.store, Custody: o.ring, Passwords: password.NewHasher(password.Params{Memory: 64, Time: 1, Threads: 1}, 4, rand.Reader), Usage: unused{},
		Policy: func() authority.Policy {
			return authority.Policy{Issuer: "https://tokens.example", Audience: []string{"https://api.example"}, Algorithm: "ES256", Copy: authority.CopyAllow, DefaultLifetime: 24 * time.Hour, RestoreGrace: time.Hour, NeverExpire: true}
		},
		Now: time.Now, Rand: rand.Reader, Host: "tokens-01",
	})
	must(t, err)
	must(t, o.Found(t.Context(), operator()))
	must(t, o.store.Follow(t.Context(), o.live))
	return o
}

func (o *office) issue(t testing.TB, client string) (authority.TokenID, string) {
	issued, err := o.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: client, Role: "user"}, client)
	if err != nil {
		t.Error(err)
	}
	return issued.ID, issued.Text.Unsafe()
}

// fill inserts tokens without signing them.
func (o *office) fill(t testing.TB, n int) {
	t.Helper()
	id, _ := o.issue(t, "model")
	model, err := authority.ReadToken(t.Context(), o.store, id)
	must(t, err)
	must(t, o.store.Update(t.Context(), func(tx authority.Tx) error {
		for i := range n {
			v := model.Clone()
			v.ID, v.ClientID = authority.TokenID(fmt.Sprintf("tok_%026d", i)), fmt.Sprintf("client-%d", i)
			if i%10 == 0 {
				v.DeletedAt, v.DeletedBy = time.Now().UTC().Truncate(time.Second), "jo"
			}
			if err := tx.Tokens().Insert(v); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (o *office) allows(text string) bool {
	return o.live.Decide(text, liveset.Demand{}).Reason == liveset.Allowed
}

func moving(to authority.Store, k kind) move.Move {
	return move.Move{To: to, AtOnce: k.atOnce, Now: time.Now}
}

func nothing() error { return nil }

func closed(s authority.Store) error { return s.Close() }

func size() int {
	if os.Getenv("MINTMARK_SOAK") == "1" {
		return 100_000
	}
	if testing.Short() || raceDetector { // which makes a database written in Go many times slower
		return 500
	}
	return 5000
}

// Verdicts and changes go on while every token moves: no verdict is wrong, and
// every change that was acknowledged is there.
func TestSoakOfVerdictsWhileTheStoreMoves(t *testing.T) {
	n := size()
	pairs(t, func(t *testing.T, from, to kind) {
		o := newOffice(t, fresh(t, from))
		o.fill(t, n)
		var live, dead []string
		for i := range 20 {
			_, text := o.issue(t, fmt.Sprintf("live-%d", i))
			live = append(live, text)
			id, text := o.issue(t, fmt.Sprintf("dead-%d", i))
			_, err := o.RevokeToken(t.Context(), operator(), id, false)
			must(t, err)
			dead = append(dead, text)
		}
		ctx, stop := context.WithCancel(t.Context())
		var group sync.WaitGroup
		var verdicts, changes atomic.Int64
		judge := func() {
			for ctx.Err() == nil {
				for i := range live {
					if !o.allows(live[i]) || o.allows(dead[i]) {
						t.Errorf("token %d: a wrong verdict", i)
						return
					}
					verdicts.Add(2)
				}
			}
		}
		last := map[string]bool{}
		group.Go(judge)
		group.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id, text := o.issue(t, fmt.Sprintf("young-%d", i))
				last[text] = true
				if !o.allows(text) {
					t.Error("a new token is refused")
				}
				if i%2 == 0 {
					if _, err := o.RevokeToken(t.Context(), operator(), id, false); err != nil || o.allows(text) {
						t.Errorf("deleted, and then: %v, allowed %v", err, o.allows(text))
					}
					last[text] = false
				}
				changes.Add(1)
			}
		})
		target := fresh(t, to)
		began := time.Now()
		moved, err := o.store.Move(t.Context(), moving(target, to), nothing, closed)
		took := time.Since(began)
		stop()
		group.Wait()
		must(t, err)
		if o.store.Present() != target || o.store.Facts().Kind != to.name {
			t.Errorf("the store is %+v", o.store.Facts())
		}
		if moved.Tokens < n+41 || len(moved.Digest) != 64 || moved.Existing != 0 || moved.Again != 0 {
			t.Errorf("moved %+v", moved)
		}
		for text, alive := range last {
			if o.allows(text) != alive {
				t.Errorf("a token of a change is allowed: %v", !alive)
			}
		}
		id, text := o.issue(t, "after")
		_, err = o.RevokeToken(t.Context(), operator(), id, false)
		must(t, err)
		if o.allows(text) {
			t.Error("a token is allowed that was deleted after the move")
		}
		t.Logf("%d tokens in %s; %d verdicts, %d changes", moved.Tokens, took, verdicts.Load(), changes.Load())
	})
}

// everything is all that a store holds but what says which store it is.
type everything struct {
	Records authority.Records
	Logins  []authority.Login
	Events  []authority.Event
}

func all(t testing.TB, s authority.Store) everything {
	t.Helper()
	var out everything
	must(t, s.View(context.Background(), func(tx authority.Tx) (err error) {
		if out.Records, err = authority.ReadRecords(tx); err != nil {
			return err
		}
		for v, err := range tx.Tokens().All() {
			must(t, err)
			out.Records.Tokens = append(out.Records.Tokens, v)
		}
		for v, err := range tx.Logins().All() {
			must(t, err)
			out.Logins = append(out.Logins, v)
		}
		for e, err := range authority.EventsAfter(tx.Audit(), 0) {
			must(t, err)
			out.Events = append(out.Events, e)
		}
		return nil
	}))
	return out
}

// furnished has a record of every kind.
func furnished(t testing.TB, s authority.Store) *office {
	t.Helper()
	o := newOffice(t, s)
	_, err := o.CreateAdmin(t.Context(), operator(), "maria", authority.NewSecret("correct horse battery staple"))
	must(t, err)
	_, err = o.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: time.Hour})
	must(t, err)
	must(t, s.Update(t.Context(), func(tx authority.Tx) error {
		return errors.Join(tx.Logins().Insert(authority.Login{ID: "lgn_a", Admin: "maria", Generation: 1}),
			tx.Throttles().Insert(authority.Throttle{Name: "maria", Failures: 2}))
	}))
	o.fill(t, 30)
	return o
}

func TestEveryRecordIsThereAfterAMove(t *testing.T) {
	pairs(t, func(t *testing.T, from, to kind) {
		source := fresh(t, from)
		o := furnished(t, source)
		want := all(t, source)
		dir := folder(t)
		to.create(t, dir)
		target := to.open(t, dir)
		_, err := o.store.Move(t.Context(), moving(target, to), nothing, closed)
		must(t, err)
		got := all(t, o.store)
		same := func(got everything) {
			t.Helper()
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		}
		same(got)
		must(t, o.store.Close())
		if to.name == "memory" {
			return
		}
		again := to.open(t, dir)
		defer func() { must(t, again.Close()) }()
		same(all(t, again))
	})
}

// A move that fails anywhere has changed nothing, and the next one goes on with
// what is there.
func TestAMoveThatFailsIsGoneOnWith(t *testing.T) {
	pairs(t, func(t *testing.T, from, to kind) {
		source := fresh(t, from)
		o := furnished(t, source)
		want := all(t, source)
		target := fresh(t, to)
		failed := 0
		for n := 1; n < 50; n++ {
			for _, fault := range []func(authority.Store, int) authority.Store{storetest.FailBefore, storetest.FailAndPersist} {
				m := moving(&once{Store: target, faulty: fault(target, 1), n: n}, to)
				m.AtOnce = 7
				_, err := o.store.Move(t.Context(), m, nothing, closed)
				if err == nil {
					if failed == 0 {
						t.Error("no fault came up")
					}
					got := all(t, o.store)
					if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
						t.Errorf("records (-want +got):\n%s", diff)
					}
					return
				}
				failed++
				if o.store.Present() != source {
					t.Fatalf("fault %d, and the store was switched", n)
				}
			}
		}
		t.Error("it never succeeded")
	})
}

// once fails the n-th Update alone.
type once struct {
	authority.Store
	faulty authority.Store
	n      int
}

func (o *once) Update(ctx context.Context, fn func(authority.Tx) error) error {
	if o.n--; o.n == 0 {
		return o.faulty.Update(ctx, fn)
	}
	return o.Store.Update(ctx, fn)
}

// What somebody else must note cannot be noted: then nothing has moved.
func TestACommitThatFailsLeavesTheStore(t *testing.T) {
	pairs(t, func(t *testing.T, from, to kind) {
		source := fresh(t, from)
		o := furnished(t, source)
		disk := errors.New("input/output error")
		_, err := o.store.Move(t.Context(), moving(fresh(t, to), to), func() error { return disk }, closed)
		if !errors.Is(err, disk) || o.store.Present() != source {
			t.Fatalf("got %v", err)
		}
		_, text := o.issue(t, "after")
		if !o.allows(text) {
			t.Error("a new token is refused")
		}
	})
}

// A store that was left and is come back to brings nothing back, and keeps what
// was there and is nowhere else.
func TestAStoreThatIsComeBackToBringsNothingBack(t *testing.T) {
	for _, k := range kinds() {
		if k.name == "memory" {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			k.create(t, dir)
			o := newOffice(t, k.open(t, dir))
			dead, deadText := o.issue(t, "dead")
			_, aliveText := o.issue(t, "alive")
			other := kinds()[0]
			_, err := o.store.Move(t.Context(), moving(fresh(t, other), other), nothing, closed)
			must(t, err)
			_, err = o.RevokeToken(t.Context(), operator(), dead, true)
			must(t, err)
			moved, err := o.store.Move(t.Context(), moving(k.open(t, dir), k), nothing, closed)
			must(t, err)
			if moved.CaughtUp.Changes != 1 || o.allows(deadText) || !o.allows(aliveText) {
				t.Errorf("moved %+v, the dead one is allowed: %v", moved, o.allows(deadText))
			}
			must(t, o.store.Close())
		})
	}
}

func TestAStrangersStoreIsNotTouched(t *testing.T) {
	pairs(t, func(t *testing.T, from, to kind) {
		source, target := fresh(t, from), fresh(t, to)
		o := furnished(t, source)
		furnished(t, target)
		want := all(t, target)
		_, err := o.store.Move(t.Context(), moving(target, to), nothing, closed)
		var e *authority.Error
		if !errors.As(err, &e) || e.Code != "store.foreign" || o.store.Present() != source {
			t.Fatalf("got %v", err)
		}
		if diff := cmp.Diff(want, all(t, target)); diff != "" {
			t.Errorf("it was changed (-want +got):\n%s", diff)
		}
	})
}
