package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
	"mintmark/internal/signing"
	"mintmark/internal/usage"
)

// stock is a live set alone, with the texts of some of its tokens.
type stock struct {
	set   *liveset.Set
	ring  *signing.Ring
	fill  filler
	texts []string
	door  liveset.Demand
}

// newStock fills a set that recognises so many verified tokens, and whose
// verdicts are counted as in a server without a home.
func newStock(live, presented, recognised int) (*stock, error) {
	s := &stock{ring: signing.InMemory(rand.Reader), door: liveset.Demand{From: netip.MustParseAddr("192.0.2.7")}}
	kid, err := s.ring.Generate("ES256")
	if err != nil {
		return nil, err
	}
	ledger, err := usage.New(usage.Config{
		Settle: func() { s.set.Settle() }, Masked: func() bool { return false }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	s.fill = filler{nil, "https://tokens.example", []string{"https://api.example"}, kid, authority.RoleUser, time.Now().Add(-time.Hour).Truncate(time.Second)}
	if err := s.open(live, recognised, ledger.Count); err != nil {
		return nil, err
	}
	s.texts, err = s.fill.texts(s.ring, 0, presented)
	return s, err
}

// open gives the stock a set of live tokens whose counts somebody is told.
func (s *stock) open(live, recognised int, counts func(authority.Counted)) (err error) {
	audience := s.fill.audience
	s.set, err = liveset.New(liveset.Config{
		Verifier: s.ring.Verifier, Now: time.Now, LoginIdle: func() time.Duration { return time.Hour }, Recognised: recognised, Tally: counts,
		Audience: func() []string { return audience }, LoginIssuer: func() string { return "https://tokens.example" },
		Record: noRecord,
	})
	if err != nil {
		return err
	}
	found(s.set, s.fill.kid)
	s.fill.set = s.set
	s.fill.fill(0, live)
	return nil
}

// silent is the same tokens in a set that nobody counts.
func (s *stock) silent(live int) (*stock, error) {
	same := *s
	err := same.open(live, 0, nil)
	return &same, err
}

// decide asks about the texts, one after the other.
func (s *stock) decide(texts []string, want liveset.Reason) step {
	return func(n int) error {
		if v := s.set.Decide(texts[n%len(texts)], s.door); v.Reason != want {
			return fmt.Errorf("the verdict is %s, not %s", v.Reason, want)
		}
		return nil
	}
}

// warm asks about every text once, and answers what asks again.
func (s *stock) warm() (step, error) {
	do := s.decide(s.texts, liveset.Allowed)
	for n := range s.texts {
		if err := do(n); err != nil {
			return nil, err
		}
	}
	return do, nil
}

// step is one thing that is measured; n counts its steps.
type step func(n int) error

// paced is what one turn of steps took.
type paced struct {
	each   time.Duration
	allocs float64
}

// pace takes steps for a while, and looks at the clock now and then only. What it
// tells is time of the processor: others who want it too take none of that.
func pace(do step, from *int, during time.Duration) (paced, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, spent, steps := time.Now(), cpuTime(), 0
	for time.Since(began) < during {
		for range 64 {
			if err := do(*from); err != nil {
				return paced{}, err
			}
			*from++
			steps++
		}
	}
	took := cpuTime() - spent
	runtime.ReadMemStats(&after)
	return paced{took / time.Duration(steps), float64(after.Mallocs-before.Mallocs) / float64(steps)}, nil
}

// beside gives two steps their turns.
func (p plan) beside(a, b step) (ofA, ofB []paced, err error) {
	var atA, atB int
	for round := -1; round < 2*p.turns; round++ { // the first one warms up
		one, err1 := pace(a, &atA, p.turn/4)
		two, err2 := pace(b, &atB, p.turn/4)
		if err := errors.Join(err1, err2); err != nil {
			return nil, nil, err
		}
		if round >= 0 {
			ofA, ofB = append(ofA, one), append(ofB, two)
		}
	}
	return ofA, ofB, nil
}

func each(p paced) float64 { return float64(p.each) }

// middle is that of one side's turns.
func middle(turns []paced) paced {
	sorted := slices.SortedFunc(slices.Values(turns), func(a, b paced) int { return int(a.each - b.each) })
	return sorted[len(sorted)/2]
}

// verdicts measures what a verdict costs in the process.
func (p plan) verdicts() error {
	s, err := newStock(p.live, p.presented, 0)
	if err != nil {
		return err
	}
	cold, err := newStock(p.live, p.presented, 1)
	if err != nil {
		return err
	}
	recognise, err := s.warm()
	if err != nil {
		return err
	}
	signature, err := bareSignature(cold)
	if err != nil {
		return err
	}
	compare := func(name, floor string, a, b step, most float64) error {
		if !p.only.MatchString(name) {
			return nil
		}
		door, bare, err := p.beside(a, b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		write(row{
			Section: "verdicts", What: name, Beside: floor, Measure: "time", Spread: spreadOf(door, bare, each), Most: most,
			Context: fmt.Sprintf("%s, %.2f allocations · %s", middle(door).each, middle(door).allocs, middle(bare).each),
		})
		return nil
	}
	if p.only.MatchString(counted) {
		silent, err := s.silent(p.live)
		if err != nil {
			return err
		}
		alone, err := silent.warm()
		if err != nil {
			return err
		}
		if err := compare(counted, "the same, and nobody counts", recognise, alone, 1.05); err != nil {
			return err
		}
	}
	const check = "the bare signature check"
	return errors.Join(
		compare("warm verdict", "SHA-256 of the token and one lookup", recognise, digestAndLookup(s.texts), 1.5),
		compare("cold verdict", check, cold.decide(cold.texts, liveset.Allowed), signature, 1.15),
		compare("wrong signature, known id", check, s.decide(forged(s.texts), liveset.BadSignature), signature, 1.15),
		p.unknown(s),
	)
}

// counted names the warm verdict with and without counts of use.
const counted = counting + ", warm verdict"

// unknown measures tokens of ids that are not there, signed as ours are.
func (p plan) unknown(s *stock) error {
	const name = "unknown id"
	if !p.only.MatchString(name) {
		return nil
	}
	foreign, err := s.fill.texts(s.ring, p.live, p.live+p.presented)
	if err != nil {
		return err
	}
	do := s.decide(foreign, liveset.UnknownToken)
	turns, _, err := p.beside(do, do)
	if err != nil {
		return err
	}
	write(row{
		Section: "verdicts", What: name, Measure: "time", Unit: "µs", Most: 3,
		Spread:  spreadIn(turns, func(t paced) float64 { return float64(t.each) / 1000 }),
		Context: fmt.Sprintf("%.2f allocations", middle(turns).allocs),
	})
	return nil
}

// forged are texts whose signature is another's.
func forged(texts []string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		own := strings.LastIndexByte(text, '.')
		other := texts[(i+1)%len(texts)]
		out[i] = text[:own] + other[strings.LastIndexByte(other, '.'):]
	}
	return out
}

// bareSignature checks signatures that are decoded already.
func bareSignature(s *stock) (step, error) {
	type signed struct{ input, signature []byte }
	all := make([]signed, len(s.texts))
	for i, text := range s.texts {
		at := strings.LastIndexByte(text, '.')
		signature, err := base64.RawURLEncoding.DecodeString(text[at+1:])
		if err != nil {
			return nil, err
		}
		all[i] = signed{[]byte(text[:at]), signature}
	}
	verifier := s.ring.Verifier(s.fill.kid)
	return func(n int) error {
		if one := &all[n%len(all)]; !verifier.Verify(one.input, one.signature) {
			return errors.New("a good signature was refused")
		}
		return nil
	}, nil
}

// digestAndLookup is what recognising a token cannot do without.
func digestAndLookup(texts []string) step {
	known := make(map[[sha256.Size]byte]int)
	for i, text := range texts {
		known[sha256.Sum256([]byte(text))] = i
	}
	return func(n int) error {
		var text [1 << 9]byte // a copy on the stack
		if known[sha256.Sum256(append(text[:0], texts[n%len(texts)]...))] != n%len(texts) {
			return errors.New("another token was found")
		}
		return nil
	}
}
