package usage_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
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
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/postgrestest"
	"mintmark/internal/store/usagesql"
	"mintmark/internal/usage"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

// place is a database and what the nodes on it share.
type place struct {
	cfg     postgres.Config
	sealing string
	seconds atomic.Int64 // since noon
}

func (p *place) now() time.Time { return noon().Add(time.Duration(p.seconds.Load()) * time.Second) }

func newPlace(t *testing.T) *place {
	t.Helper()
	folder := t.TempDir()
	must(t, os.Chmod(folder, 0o700))
	p := &place{sealing: filepath.Join(folder, "sealing.key")}
	_, err := signing.CreateSealing(durable.Files{}, p.sealing, rand.Reader)
	must(t, err)
	p.cfg = postgres.Config{URL: postgrestest.Shared(t).Schema(t), Now: p.now, Rand: rand.Reader, Tables: usagesql.Tables()}
	must(t, postgres.Create(t.Context(), p.cfg))
	return p
}

// node is what of a node tells how tokens are used.
type node struct {
	*authority.Authority
	store  *postgres.Store
	live   *liveset.Set
	ledger *usage.Ledger
	counts *faulty
}

func (p *place) node(t *testing.T, name string) *node {
	t.Helper()
	store, err := postgres.Open(t.Context(), p.cfg)
	must(t, err)
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- store.Run(ctx) }()
	sealing, err := signing.OpenSealing(durable.Files{}, p.sealing, rand.Reader)
	must(t, err)
	ring := signing.InRecords(sealing, rand.Reader)
	counts, err := usagesql.Attach(t.Context(), store.Beside(2), p.now())
	must(t, err)
	t.Cleanup(func() {
		end()
		must(t, errors.Join(<-ended, counts.Close(), store.Close()))
	})
	n := &node{store: store, counts: &faulty{UsageStore: counts}}
	n.ledger, err = usage.New(usage.Config{
		Store: n.counts, Shared: true, Writer: name, Keeper: store, Settle: func() { n.live.Settle() }, Masked: func() bool { return false }, Now: p.now,
		Recall: func(since time.Time, load func([]authority.KeyID, func(authority.TokenID, authority.KeyUse)) error) error {
			return n.live.Recall(since, load)
		},
		Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	n.live, err = liveset.New(liveset.Config{
		Verifier: ring.Verifier, Audience: func() []string { return []string{"https://api.example"} }, LoginIssuer: func() string { return "https://tokens.example" },
		LoginIdle: func() time.Duration { return time.Hour }, Tally: n.ledger.Count, Now: p.now,
		Record: func(id authority.TokenID) (authority.Token, error) {
			return authority.ReadToken(context.Background(), store, id)
		},
	})
	must(t, err)
	policy := authority.Policy{Issuer: "https://tokens.example", Audience: []string{"https://api.example"}, Algorithm: "ES256", DefaultLifetime: 90 * 24 * time.Hour, RestoreGrace: time.Hour, StepUp: time.Hour}
	n.Authority, err = authority.New(authority.Config{
		Store: store, Fleet: store, Custody: ring, Passwords: password.NewHasher(password.Params{Memory: 64, Time: 1, Threads: 1}, 4, rand.Reader),
		Usage: n.live, Ledger: n.ledger, Policy: func() authority.Policy { return policy }, Now: p.now, Rand: rand.Reader, Host: name,
	})
	must(t, err)
	must(t, store.Follow(t.Context(), ring))
	founded, err := n.Founded(t.Context())
	must(t, err)
	if !founded {
		must(t, n.Found(t.Context(), operator()))
	}
	must(t, store.Follow(t.Context(), n.live))
	return n
}

func operator() authority.Caller {
	return authority.LocalOperator("root@tokens-01", authority.Origin{RequestID: "r1"})
}

func (n *node) issue(t *testing.T, client string) authority.Issued {
	t.Helper()
	issued, err := n.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: client, Role: "user"}, "")
	must(t, err)
	return issued
}

// use presents a token so often, when the node has heard of all that has changed.
func (n *node) use(t *testing.T, token, from string, times int) {
	t.Helper()
	must(t, n.store.Refresh(t.Context(), 0))
	for range times {
		if v := n.live.Decide(token, liveset.Demand{From: addr(from)}); !v.Allow() {
			t.Fatalf("it is refused: %s", v.Reason)
		}
	}
}

func (n *node) flush(t *testing.T) {
	t.Helper()
	must(t, n.ledger.Flush(t.Context()))
}

func TestNodesThatShareADatabaseAddUpWhatTheyCount(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	here, there := p.node(t, "here"), p.node(t, "there")
	token := here.issue(t, "ci")
	text := token.Text.Unsafe()
	here.use(t, text, "10.0.0.1", 5)
	p.seconds.Add(1)
	there.use(t, text, "10.0.0.1", 7)
	there.use(t, text, "10.0.0.2", 2)
	there.flush(t)
	want := authority.UsageRecord{
		Token: token.ID, Keys: []authority.KeyUse{{Key: token.KeyID, First: noon(), Last: noon().Add(time.Second), From: "10.0.0.2"}},
		Hours: []authority.UsageCount{{Start: noon(), Key: token.KeyID, Allowed: 14}},
		Sources: []authority.UsageSource{
			{From: "10.0.0.1", Key: token.KeyID, First: noon(), Last: noon().Add(time.Second), Allowed: 12},
			{From: "10.0.0.2", Key: token.KeyID, First: noon().Add(time.Second), Last: noon().Add(time.Second), Allowed: 2},
		},
	}
	told := func(n *node) {
		t.Helper()
		r, err := n.ledger.Record(t.Context(), token.ID)
		must(t, err)
		r.Keys[0].From = want.Keys[0].From // of two in one second
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	told(here) // with what it has not saved yet
	for range 2 {
		here.flush(t)
		told(here)
		told(there)
	}
	sums, err := there.ledger.Sums(t.Context(), noon(), nil)
	must(t, err)
	if diff := cmp.Diff([]authority.UsageSum{{Token: token.ID, Key: token.KeyID, Count: 14}}, sums); diff != "" {
		t.Errorf("sums (-want +got):\n%s", diff)
	}
}

func TestEvidenceIsTheSameOnEveryNode(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	here, there := p.node(t, "here"), p.node(t, "there")
	both, stays := here.issue(t, "both"), here.issue(t, "stays")
	here.issue(t, "silent")
	p.seconds.Add(3600)
	rotation, err := here.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: 24 * time.Hour})
	must(t, err)
	fresh, err := here.RevealToken(t.Context(), operator(), both.ID)
	must(t, err)
	here.use(t, stays.Text.Unsafe(), "10.0.0.3", 1)
	there.use(t, fresh.Text.Unsafe(), "10.0.0.2", 1)
	p.seconds.Add(60)
	here.use(t, both.Text.Unsafe(), "10.0.0.1", 2)
	here.flush(t)
	there.flush(t)
	want := map[string]authority.Movement{"both": authority.Mixed, "stays": authority.NotMoved, "silent": authority.Silent}
	var first []authority.TokenEvidence
	for _, n := range []*node{here, there} {
		e, err := n.Evidence(t.Context(), operator(), rotation.Previous.Name)
		must(t, err)
		got := make(map[string]authority.Movement)
		for _, row := range e.Tokens {
			got[row.ClientID] = row.Movement
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("movements (-want +got):\n%s", diff)
		}
		if first == nil {
			first = e.Tokens
		}
		if diff := cmp.Diff(first, e.Tokens, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Errorf("on the other node (-here +there):\n%s", diff)
		}
		if s := n.UsageState(); !s.Others.Equal(p.now()) || !e.Others.Equal(s.Others) {
			t.Errorf("the others were read at %v, as the evidence has it at %v", s.Others, e.Others)
		}
	}
	if use := there.live.LastUse(both.ID); use.From != "10.0.0.1" || !use.At.Equal(p.now()) || use.Key != both.KeyID {
		t.Errorf("the last use there is %+v", use)
	}
	list, err := there.Tokens(t.Context(), operator(), authority.ListRequest{Sort: string(authority.SortLastUsed), Descending: true})
	must(t, err)
	var order []string
	for _, v := range list.Items {
		order = append(order, v.ClientID)
	}
	if diff := cmp.Diff([]string{"both", "stays", "silent"}, order); diff != "" {
		t.Errorf("by last use (-want +got):\n%s", diff)
	}
}

// A rotation makes room where the key before the previous one was.
func TestUsesUnderANewKeyAreReadWhoeverSawThem(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	here, there := p.node(t, "here"), p.node(t, "there")
	token := here.issue(t, "ci")
	text := token.Text.Unsafe()
	for range 4 {
		there.use(t, text, "10.0.0.2", 1)
		p.seconds.Add(600)
		here.use(t, text, "10.0.0.1", 1)
		here.flush(t)
		there.flush(t)
		must(t, there.ledger.Look(t.Context()))
		if use := there.live.LastUse(token.ID); use.From != "10.0.0.1" || !use.At.Equal(p.now()) {
			t.Fatalf("the last use there is %+v", use)
		}
		rotation, err := here.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: time.Hour})
		must(t, err)
		revealed, err := here.RevealToken(t.Context(), operator(), token.ID)
		must(t, err)
		text = revealed.Text.Unsafe()
		here.use(t, text, "10.0.0.3", 1)
		must(t, there.store.Refresh(t.Context(), 0))
		here.flush(t)
		must(t, there.ledger.Look(t.Context()))
		uses := there.live.KeyUses(token.ID)
		if last := uses[len(uses)-1]; last != (authority.KeyUse{Key: rotation.Current.ID, First: p.now(), Last: p.now(), From: "10.0.0.3"}) {
			t.Fatalf("under the new key: %+v", last)
		}
		p.seconds.Add(2 * 3600)
		must(t, here.EndOverlaps(t.Context(), 24*time.Hour))
	}
}

func TestANodeThatIsLostLosesWhatItHadNotSaved(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	lost, stays := p.node(t, "lost"), p.node(t, "stays")
	token := lost.issue(t, "ci")
	text := token.Text.Unsafe()
	lost.use(t, text, "10.0.0.1", 3)
	lost.flush(t)
	lost.use(t, text, "10.0.0.1", 2)
	stays.use(t, text, "10.0.0.2", 4)
	stays.flush(t)
	p.seconds.Add(30)
	again := p.node(t, "again")
	if since := again.live.Since(); !since.Equal(p.now()) {
		t.Errorf("since %v before it has looked", since)
	}
	must(t, again.ledger.Look(t.Context()))
	if use := again.live.LastUse(token.ID); !use.At.Equal(noon()) || !again.live.Since().Equal(noon()) {
		t.Errorf("the last use is %+v, since %v", use, again.live.Since())
	}
	for _, n := range []*node{again, stays} {
		r, err := n.ledger.Record(t.Context(), token.ID)
		must(t, err)
		wantTotal(t, r, 7, 0)
	}
}

func TestAFlushWhoseAnswerIsLostIsAddedOnce(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	here, there := p.node(t, "here"), p.node(t, "there")
	token := here.issue(t, "ci")
	here.use(t, token.Text.Unsafe(), "10.0.0.1", 3)
	here.counts.fail(nil, errors.New("the connection is lost"))
	if err := here.ledger.Flush(t.Context()); err == nil {
		t.Fatal("the failure is not told")
	}
	here.use(t, token.Text.Unsafe(), "10.0.0.1", 2)
	here.counts.fail(nil, nil)
	for range 2 {
		here.flush(t)
	}
	r, err := there.ledger.Record(t.Context(), token.ID)
	must(t, err)
	wantTotal(t, r, 5, 0)
}
