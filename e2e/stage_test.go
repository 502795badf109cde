package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/durable"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
	"mintmark/internal/password"
	recent "mintmark/internal/refusals"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/usage"
	"mintmark/internal/webui"
)

// stage is the real console over the real rules with nothing in it that differs
// from one run to the next: its clock stands, and its ids come from a seed. So its
// pictures can be compared.
type stage struct {
	url   string
	rules *authority.Authority
	live  *liveset.Set
	count *usage.Ledger
	store authority.Store
	clock atomic.Int64
	made  map[string]authority.Issued // by client ID
}

// curtain is when every picture is taken.
func curtain() time.Time { return time.Date(2026, 11, 23, 14, 8, 2, 0, time.UTC) }

// dice is a source of randomness that repeats itself.
type dice struct {
	mu   sync.Mutex
	from io.Reader
}

func (d *dice) Read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.from.Read(p)
}

// placed is a store in memory that says it is a file.
type placed struct{ authority.Store }

func (placed) Facts() authority.StoreFacts {
	return authority.StoreFacts{Kind: "json", Location: "/var/lib/mintmark/token.json", Persistent: true, LastWrite: curtain().Add(-12 * time.Second)}
}

func manager() authority.Caller {
	return authority.LocalOperator("root@tokens-01", authority.Origin{})
}

func (s *stage) now() time.Time { return time.Unix(0, s.clock.Load()).UTC() }

func (s *stage) at(t time.Time) { s.clock.Store(t.UnixNano()) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStage(t testing.TB, persistent bool) *stage {
	t.Helper()
	s := &stage{made: make(map[string]authority.Issued)}
	s.at(time.Date(2026, 10, 2, 9, 0, 0, 0, time.UTC))
	random := &dice{from: rand.NewChaCha8([32]byte{1})}
	ring := signing.InMemory(random)
	env := map[string]string{"MINTMARK_JWT_ALGORITHM": "HS256"} // the one whose keys come from the dice alone
	running, err := control.NewRunning(config.Layers{Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
	must(t, err)
	if s.store, err = mapstore.Open(mapstore.Config{Now: s.now}); err != nil {
		t.Fatal(err)
	}
	if persistent {
		s.store = placed{s.store}
	}
	open := func() bool { return false }
	s.count, err = usage.New(usage.Config{Settle: func() { s.live.Settle() }, Masked: open, Now: s.now, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	s.live, err = liveset.New(liveset.Config{
		Tally: s.count.Count, Masked: open, Verifier: ring.Verifier, Audience: func() []string { return running.Settings().Audience },
		LoginIssuer: func() string { return running.Settings().Issuer }, LoginIdle: running.LoginIdle, Now: s.now,
		Record: func(id authority.TokenID) (authority.Token, error) {
			return authority.ReadToken(context.Background(), s.store, id)
		},
	})
	must(t, err)
	s.rules, err = authority.New(authority.Config{
		Store: s.store, Custody: ring, Passwords: password.NewHasher(password.Params{Memory: 64, Time: 1, Threads: 1}, 4, random),
		Usage: s.live, Ledger: s.count, Policy: running.Policy, Now: s.now, Rand: random, Host: "tokens-01",
	})
	must(t, err)
	must(t, s.rules.Found(t.Context(), manager()))
	must(t, s.store.Follow(t.Context(), s.live))
	_, err = s.rules.CreateAdmin(t.Context(), manager(), "admin", authority.NewSecret(adminPassword))
	must(t, err)
	s.open(t, running)
	return s
}

// open serves the console.
func (s *stage) open(t testing.TB, running *control.Running) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	book, err := config.Create(durable.Files{}, filepath.Join(dir, "config.json"), nil, config.Author{Kind: "local", Name: "root@tokens-01"}, s.now())
	must(t, err)
	operates, err := control.New(control.Config{
		Authority: s.rules, Running: running, Book: book, Refusals: s.live.Refusals, Now: s.now,
		SwitchStore: func(_ context.Context, _ string, commit func() error) (control.Carried, error) {
			return control.Carried{}, commit()
		},
		CheckStore: func(string) (string, error) { return "", nil }, CheckTLS: func(string, string) error { return nil },
		Program: control.Program{Version: "1.0.0", PID: 4188, StartedAt: curtain().Add(-76 * time.Hour), URL: func() string { return "http://127.0.0.1:3000" }},
	})
	must(t, err)
	refused, err := recent.New(recent.Config{Live: s.live, Now: s.now})
	must(t, err)
	var forms atomic.Int64
	console, err := webui.New(webui.Config{
		Authority: s.rules, Live: s.live, Refusals: refused, Control: operates, Policy: running.Policy, LoginIdle: running.LoginIdle, Now: s.now,
		NewKey: func() string { return strconv.FormatInt(forms.Add(1), 10) }, Log: slog.New(slog.DiscardHandler), Host: "tokens-01", Program: "manager", Home: "/opt/mintmark",
	})
	must(t, err)
	server := httptest.NewServer(edge.Wrap(edge.Config{
		Log: slog.New(slog.DiscardHandler), Now: s.now, NewID: func() string { return "7f3a91" }, TrustedProxies: func() []netip.Prefix { return nil },
	}, console))
	t.Cleanup(server.Close)
	s.url = server.URL
}

func (s *stage) issue(t testing.TB, r authority.TokenRequest) authority.TokenID {
	t.Helper()
	issued, err := s.rules.IssueToken(t.Context(), manager(), r, "")
	must(t, err)
	s.made[r.ClientID] = issued
	return issued.ID
}

// use lets a client call n times, the last time at this moment.
func (s *stage) use(t testing.TB, client, from string, n uint64) {
	t.Helper()
	of := s.made[client]
	role := authority.Role("")
	if of.Role == authority.RoleVerifier {
		role = of.Role
	}
	v := s.live.Decide(of.Text.Unsafe(), liveset.Demand{From: netip.MustParseAddr(from), Role: role})
	if !v.Allow() {
		t.Fatalf("%s is refused: %s", client, v.Reason)
	}
	if n > 1 {
		at := uint32(s.now().Unix())
		s.count.Count(authority.Counted{Token: of.ID, Key: of.KeyID, From: netip.MustParseAddr(from), First: at, Last: at, Count: n - 1})
	}
}

// cast is the tokens of the pictures, as they came to be from October on.
func (s *stage) cast(t *testing.T) map[string]authority.TokenID {
	t.Helper()
	ids := make(map[string]authority.TokenID)
	made := func(r authority.TokenRequest) { ids[r.ClientID] = s.issue(t, r) }
	made(authority.TokenRequest{ClientID: "old-probe", Role: "user", Never: true})
	made(authority.TokenRequest{ClientID: "gateway", Role: "verifier", Lifetime: 365 * 24 * time.Hour, Description: "Introspection by the edge"})
	made(authority.TokenRequest{ClientID: longest, Role: "user", Tags: []string{"team:data", "env:production", "region:eu-central-1", "cost-centre:4711"}, Lifetime: 300 * 24 * time.Hour})
	s.at(time.Date(2026, 11, 3, 6, 0, 0, 0, time.UTC))
	made(authority.TokenRequest{ClientID: "dfsadmin", Role: "admin", Lifetime: 110 * 24 * time.Hour, Contact: "ops@corp.example", Description: "Administration of the data platform"})
	made(authority.TokenRequest{ClientID: "etl-nightly", Role: "user", Tags: []string{"team:data", "env:production"}, Lifetime: 60 * 24 * time.Hour, Contact: "data@corp.example"})
	made(authority.TokenRequest{ClientID: "report-monthly", Role: "user", Tags: []string{"team:finance"}, Lifetime: 200 * 24 * time.Hour})
	today := curtain().Truncate(24 * time.Hour)
	for back := 13; back >= 0; back-- {
		s.at(today.Add(-time.Duration(back)*24*time.Hour + 5*time.Hour + 8*time.Minute))
		s.use(t, "etl-nightly", "10.2.7.3", 1)
		s.at(today.Add(-time.Duration(back)*24*time.Hour + 13*time.Hour))
		s.use(t, "gateway", "10.2.0.2", uint64(9000+700*(back%5)))
		s.use(t, "dfsadmin", "10.2.0.14", uint64(700+310*((back*5)%7)))
		if back%3 == 0 {
			s.use(t, longest, "2001:db8:85a3::8a2e:370:7334", 40)
		}
	}
	s.at(curtain().Add(-4 * time.Minute))
	s.use(t, "dfsadmin", "10.2.0.14", 120)
	s.at(curtain())
	return ids
}

// extras is n tokens more, which nobody issued: that would take a signature each.
func (s *stage) extras(t testing.TB, n int) {
	t.Helper()
	keys, err := s.rules.Keys(t.Context(), manager())
	must(t, err)
	must(t, s.store.Update(t.Context(), func(tx authority.Tx) error {
		for i := range n {
			if err := tx.Tokens().Insert(authority.Token{
				ID: authority.TokenID(fmt.Sprintf("tok_%013d%013d", (i+1)*6_700_417_321%10_000_000_000_000, i)), ClientID: fmt.Sprintf("service-%06d", i+1), Role: authority.RoleUser, Tags: []string{"team:web"},
				Audience: []string{"https://api.example"}, Issuer: "https://mint.example", KeyID: keys[0].ID, Generation: 1,
				CreatedAt: curtain().Add(-time.Hour), CreatedBy: "admin", ExpiresAt: curtain().Add(time.Duration(30+i%300) * 24 * time.Hour),
			}); err != nil {
				return err
			}
		}
		return nil
	}))
}
