package liveset_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
	"mintmark/internal/liveset"
)

// tally adds up what a set tells.
type tally struct {
	mu  sync.Mutex
	all []authority.Counted
}

func (t *tally) add(c authority.Counted) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, c)
}

// what tells counts apart.
type what struct {
	Token     authority.TokenID
	Key       authority.KeyID
	Refused   string
	From, Via netip.Addr
	Hour      uint32
}

func (t *tally) sums() map[what]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	sums := make(map[what]uint64)
	for _, c := range t.all {
		sums[what{c.Token, c.Key, c.Refused, c.From, c.Via, c.Last / 3600}] += c.Count
	}
	return sums
}

func sameSums(t *testing.T, got, want map[what]uint64) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

func counting(t testing.TB) (*house, *tally) {
	t.Helper()
	counts := new(tally)
	h := emptyCounting(t, jws.HS256, counts.add)
	token, login := theToken(), theLogin()
	h.Load(h.snapshot(&token, &login, 1))
	return h, counts
}

func hourAt(at time.Time) uint32 { return uint32(at.Unix() / 3600) }

func TestEveryVerdictIsCountedOnce(t *testing.T) {
	t.Parallel()
	h, counts := counting(t)
	other := theToken()
	other.ID, other.KeyID = "tok_00000000000000000000000002", "previous"
	h.Apply(tokens(other))
	texts := []string{h.text(t, theToken()), h.text(t, other)}
	const workers, rounds, sources = 8, 4000, 7
	want := make(map[what]uint64)
	var mu sync.Mutex
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() { // the ledger is asked all the time
		for {
			select {
			case <-stop:
				return
			default:
				h.Settle()
			}
		}
	})
	for w := range workers {
		wg.Go(func() {
			own := make(map[what]uint64)
			for n := range rounds {
				at := (n + w) % 2
				from := netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + (n/3+w)%sources)})
				via := netip.Addr{}
				if n%5 == 0 {
					via = addr("10.9.9.9")
				}
				if v := h.Decide(texts[at], liveset.Demand{From: from, Via: via}); !v.Allow() {
					t.Error(v.Reason)
					return
				}
				if n%50 == 0 {
					h.advance(time.Second) // not as far as the next hour
				}
				id, key := tokenID, authority.KeyID("current")
				if at == 1 {
					id, key = other.ID, "previous"
				}
				own[what{id, key, "", from, via, hourAt(start())}]++
			}
			mu.Lock()
			defer mu.Unlock()
			for k, n := range own {
				want[k] += n
			}
		})
	}
	wg.Wait()
	close(stop)
	beside.Wait()
	h.Settle()
	sameSums(t, counts.sums(), want)
	h.Settle()
	sameSums(t, counts.sums(), want)
}

func TestNoCountIsLostWhenHoursTurnAndTokensGiveWay(t *testing.T) {
	t.Parallel()
	h, counts := counting(t) // it recognises 64 tokens
	var texts []string
	for n := range 300 {
		one := theToken()
		one.ID = authority.TokenID(fmt.Sprintf("tok_%026d", n))
		h.Apply(tokens(one))
		texts = append(texts, h.text(t, one))
	}
	var wg sync.WaitGroup
	var asked atomic.Uint64
	for w := range 8 {
		wg.Go(func() {
			for n := range 3000 {
				// Some are presented often, most give way to each other.
				text := texts[(n*7+w)%len(texts)]
				if n%3 == 0 {
					text = texts[w%4]
				}
				if v := h.Decide(text, liveset.Demand{From: netip.AddrFrom4([4]byte{10, 0, 0, byte(n % 3)})}); !v.Allow() {
					t.Error(v.Reason)
				}
				asked.Add(1)
				switch {
				case w == 0 && n%50 == 0:
					h.advance(20 * time.Minute)
				case w == 1 && n%200 == 0: // a store is switched
					token := theToken()
					c := h.snapshot(nil, nil, 1)
					h.mu.Lock()
					for _, r := range h.records {
						c.Tokens = append(c.Tokens, tokenChange(r))
					}
					h.mu.Unlock()
					_ = token
					h.Load(c)
				}
			}
		})
	}
	wg.Wait()
	h.Settle()
	sum := uint64(0)
	hours := make(map[uint32]bool)
	for k, n := range counts.sums() {
		sum += n
		hours[k.Hour] = true
	}
	if sum != asked.Load() || len(hours) < 10 {
		t.Errorf("%d verdicts were counted in %d hours, %d were given", sum, len(hours), asked.Load())
	}
}

func TestARefusalIsTheTokensOnlyWhenThatIsCertain(t *testing.T) {
	t.Parallel()
	h, counts := counting(t)
	from := liveset.Demand{From: addr("10.0.0.1")}
	hour := hourAt(start())
	text := h.text(t, theToken())
	own := func(reason string, key authority.KeyID) what {
		return what{tokenID, key, reason, from.From, netip.Addr{}, hour}
	}
	nobodys := func(reason string) what { return what{"", "", reason, from.From, netip.Addr{}, hour} }

	admin := from
	admin.Role = authority.RoleAdmin
	tagged := from
	tagged.Tags = []string{"team:b"}
	elsewhere := from
	elsewhere.Audience = []string{"https://c.example"}
	named := from
	named.ClientID = "somebody"
	for _, d := range []liveset.Demand{admin, tagged, elsewhere, named, from} {
		h.Decide(text, d)
	}
	forged := text[:len(text)-6] + "AAAAAA"
	other := theToken()
	other.ID = "tok_00000000000000000000000009"
	wrong := theToken()
	wrong.Role = authority.RoleAdmin // signed as ours are, and not what the record says
	for _, raw := range []string{forged, "a.b.c", h.text(t, other), h.text(t, wrong), "", h.sign(t, "retired", authority.TypeToken, claimsOf(theToken()))} {
		h.Decide(raw, from)
	}
	login := from
	login.Purpose = liveset.ForOwnCalls
	if v := h.Decide(h.loginText(t), login); !v.Allow() {
		t.Fatal(v.Reason)
	}
	h.advance(2 * idle)
	h.Decide(h.loginText(t), login) // refused: it is idle; logins are no tokens
	h.advance(-2 * idle)

	deleted := theToken()
	deleted.DeletedAt = start()
	h.Apply(tokens(deleted))
	h.Decide(text, from)
	h.Settle()
	sameSums(t, counts.sums(), map[what]uint64{
		own("role_insufficient", "current"): 1, own("tag_missing", "current"): 1, own("wrong_audience", "current"): 1, own("client_id_not_allowed", "current"): 1,
		own("", "current"): 1, own("record_mismatch", "current"): 1, own("deleted", "current"): 1,
		nobodys("bad_signature"): 1, nobodys("malformed"): 1, nobodys("unknown_token"): 1, nobodys("retired_key"): 1,
	})
}

func TestAUseIsCountedWithItsTrueFirstSecond(t *testing.T) {
	t.Parallel()
	h, counts := counting(t)
	text := h.text(t, theToken())
	for range 5 {
		h.Decide(text, liveset.Demand{From: addr("10.0.0.1")})
		h.advance(2 * time.Second)
	}
	h.Settle()
	first, last := ^uint32(0), uint32(0)
	for _, c := range counts.all {
		first, last = min(first, c.First), max(last, c.Last)
	}
	if want := uint32(start().Unix()); first != want || last != want+8 {
		t.Errorf("first use %d s, last %d s after the start", int64(first)-start().Unix(), int64(last)-start().Unix())
	}
	if got := h.LastUse(tokenID); !got.At.Equal(start().Add(8 * time.Second)) {
		t.Errorf("last use %v", got)
	}
}

func TestMoreSourcesThanAreToldApartAreCountedAllTheSame(t *testing.T) {
	t.Parallel()
	h, counts := counting(t)
	text := h.text(t, theToken())
	const many = 1<<17 + 50
	for n := range many {
		h.Decide(text, liveset.Demand{From: netip.AddrFrom4([4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)})})
	}
	last := netip.AddrFrom4([4]byte{11, byte((many - 1) >> 16), byte((many - 1) >> 8 & 255), byte((many - 1) & 255)})
	h.Decide(text, liveset.Demand{From: last})
	h.Settle()
	sums := counts.sums()
	if len(sums) != many || sums[what{tokenID, "current", "", last, netip.Addr{}, hourAt(start())}] != 2 {
		t.Errorf("%d sources were counted of %d", len(sums), many)
	}
}

func TestCountingTakesNoMemoryOnceASourceIsKnown(t *testing.T) {
	h, counts := counting(t)
	text, d := h.text(t, theToken()), liveset.Demand{From: addr("10.0.0.1"), Via: addr("10.0.0.2"), AnyAudience: true}
	h.Decide(text, d)
	if n := testing.AllocsPerRun(1000, func() { h.Decide(text, d) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := len(counts.all); n != 1 {
		t.Errorf("the ledger was told %d times", n)
	}
}

// A limit is asked before anything is looked at, and again for whom a good token
// is: what it refuses is a refusal like any other, of the token when it is known.
func TestWhatALimitRefusesIsCountedAsRefused(t *testing.T) {
	t.Parallel()
	h, counts := counting(t)
	text, hour := h.text(t, theToken()), hourAt(start())
	from := liveset.Demand{From: addr("10.0.0.1")}
	own := func(reason string) what { return what{tokenID, "current", reason, from.From, netip.Addr{}, hour} }
	if v := h.Decide(text, from); !v.Allow() {
		t.Fatal(v.Reason)
	}
	h.advance(time.Second)
	var asked []string
	limited := func(d liveset.Demand, admitted ...string) liveset.Demand {
		d.Admit = func(id string) bool { asked = append(asked, id); return slices.Contains(admitted, id) }
		return d
	}
	admin := from
	admin.Role = authority.RoleAdmin
	for _, c := range []struct {
		raw    string
		demand liveset.Demand
		want   liveset.Reason
		asked  []string
	}{
		{text, limited(from, "", string(tokenID)), liveset.Allowed, []string{"", string(tokenID)}},
		{text, limited(from, ""), liveset.TooMany, []string{"", string(tokenID)}},
		{text, limited(admin, ""), liveset.TooMany, []string{"", string(tokenID)}},
		{text, limited(from), liveset.TooMany, []string{""}},
		{"a.b.c", limited(from, ""), liveset.Malformed, []string{""}},
	} {
		asked = nil
		v := h.Decide(c.raw, c.demand)
		if diff := cmp.Diff(c.asked, asked); v.Reason != c.want || diff != "" || v.Reason == liveset.TooMany && v.Identity.ID != "" {
			t.Errorf("%+v, the limit was asked %s", v, diff)
		}
	}
	if got := h.LastUse(tokenID); !got.At.Equal(start().Add(time.Second)) {
		t.Errorf("last use %v", got)
	}
	h.Settle()
	sameSums(t, counts.sums(), map[what]uint64{
		own(""): 2, own("too_many"): 2, {"", "", "too_many", from.From, netip.Addr{}, hour}: 1, {"", "", "malformed", from.From, netip.Addr{}, hour}: 1,
	})
	if got := h.Refusals()["too_many"]; got != 3 {
		t.Errorf("%d refusals", got)
	}
}

func TestToLookAtATokenIsNoUseOfIt(t *testing.T) {
	t.Parallel()
	h, counts := counting(t)
	text, look := h.text(t, theToken()), liveset.Demand{From: addr("10.0.0.1"), Look: true}
	for range 2 {
		if v := h.Decide(text, look); !v.Allow() || v.Identity.ID != string(tokenID) {
			t.Errorf("%+v", v)
		}
	}
	deleted := theToken()
	deleted.DeletedAt = start()
	h.Apply(tokens(deleted))
	wantReason(t, h.Decide(text, look), liveset.Deleted)
	h.Settle()
	sameSums(t, counts.sums(), map[what]uint64{})
	if got := h.LastUse(tokenID); !got.At.IsZero() || len(h.Refusals()) != 0 {
		t.Errorf("used %v, refused %v", got, h.Refusals())
	}
}
