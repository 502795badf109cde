package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// contest is a door and what it is measured beside.
type contest struct {
	name  string
	sides []side // the door first
}

type side struct {
	name string
	target
	rate float64 // the door has at least this share of the side's rate; 0: only told
	p99  float64 // the door's p99 is at most so many times the side's; 0: only told
}

// load measures every door.
func (p plan) load(ctx context.Context) (err error) {
	upstream, line, err := p.start(ctx, "upstream", p.loadCore)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, upstream.end()) }()
	doors, line, err := p.start(ctx, "doors", p.serverCore, "-upstream", strings.TrimSpace(string(line)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, doors.end()) }()
	var told opened
	if err := json.Unmarshal(line, &told); err != nil {
		return err
	}
	for _, c := range contests(told) {
		if !p.only.MatchString(c.name) {
			continue
		}
		if err := p.measure(ctx, doors, c); err != nil {
			return err
		}
	}
	return errors.Join(p.askedByNginx(ctx, doors, told), p.besideWrk(ctx, told))
}

// each is a request for each token.
func (o *opened) each(request func(token string) []byte) [][]byte {
	requests := make([][]byte, len(o.Tokens))
	for i, token := range o.Tokens {
		requests[i] = request(token)
	}
	return requests
}

func contests(o opened) []contest {
	at := func(name string, request func(string) []byte) target {
		return target{o.Addresses[name], o.each(request), speakHTTP}
	}
	ask := func(token string) []byte { return introspection(token, o.Verifier) }
	all := []contest{
		{"forward-auth", []side{
			{target: at("doors", forwardAuth)},
			{name: "a bare handler of the same bytes", target: at("forward-auth floor", forwardAuth), rate: 0.93, p99: 1.5},
			{name: "a bare 204", target: at("204", forwardAuth), rate: 0.80},
		}},
		{"introspection", []side{
			{target: at("doors", ask)},
			{name: "a bare handler that parses the same form, of the same bytes", target: at("introspection floor", ask), rate: 0.90},
		}},
		{"ext_authz", []side{
			{target: spoken(at("check", check), speakGRPC)},
			{name: "a bare grpc-go server of the same answer", target: spoken(at("check floor", check), speakGRPC), rate: 0.90, p99: 1.3},
		}},
		{"guard", []side{
			{target: at("guard", call)},
			{name: "httputil.ReverseProxy alone", target: at("proxy", call), rate: 0.90},
		}},
	}
	if o.Addresses["uncounted"] != "" {
		const off = "the same door, and nobody counts"
		all = append(all,
			contest{counting + ", forward-auth", []side{{target: at("doors", forwardAuth)}, {name: off, target: at("uncounted", forwardAuth), rate: 0.97}}},
			contest{counting + ", introspection", []side{{target: at("doors", ask)}, {name: off, target: at("uncounted", ask), rate: 0.97}}},
		)
	}
	return all
}

// counting names the contests of the doors with and without counts of use.
const counting = "counting"

// spoken is a target in another language.
func spoken(t target, speak func(net.Conn) client) target {
	t.speak = speak
	return t
}

// measure gives each side its turns; who is first changes with every round.
func (p plan) measure(ctx context.Context, doors *served, c contest) error {
	turns := make([][]turnOf, len(c.sides))
	for _, s := range c.sides {
		if err := s.visit(ctx); err != nil {
			return fmt.Errorf("%s, %s: %w", c.name, s.name, err)
		}
	}
	for round := -1; round < p.turns; round++ { // the first one warms up
		for i := range c.sides {
			at := (i + max(round, 0)) % len(c.sides)
			before, err1 := doors.spent()
			t, err2 := drive(ctx, c.sides[at].target, p.connections, p.turn)
			after, err3 := doors.spent()
			t.cost = time.Duration(float64(after-before) / (t.rate * p.turn.Seconds()))
			if err := errors.Join(err1, err2, err3); err != nil {
				return fmt.Errorf("%s, %s: %w", c.name, c.sides[at].name, err)
			}
			if round >= 0 {
				turns[at] = append(turns[at], t)
			}
		}
	}
	door := turns[0]
	for i, s := range c.sides[1:] {
		floor := turns[i+1]
		write(row{
			Section: "doors", What: c.name, Beside: s.name, Measure: "rate", Spread: spreadOf(door, floor, func(t turnOf) float64 { return t.rate }), Least: s.rate,
			Context: fmt.Sprintf("%s · %s", told(door), told(floor)),
		})
		write(row{
			Section: "doors", What: c.name, Beside: s.name, Measure: "p99", Spread: spreadOf(door, floor, func(t turnOf) float64 { return float64(t.p99) }), Most: s.p99,
		})
		write(row{
			Section: "doors", What: c.name, Beside: s.name, Measure: "processor", Spread: spreadOf(door, floor, func(t turnOf) float64 { return float64(t.cost) }),
		})
	}
	return nil
}

// told is the middle of the turns as absolute figures.
func told(turns []turnOf) string {
	middle := slices.SortedFunc(slices.Values(turns), func(a, b turnOf) int { return cmp.Compare(a.rate, b.rate) })[len(turns)/2]
	return fmt.Sprintf("%.1fk/s, p50 %s, p99 %s, %s each, load %.0f%%",
		middle.rate/1000, middle.p50.Round(time.Microsecond), middle.p99.Round(time.Microsecond), middle.cost.Round(100*time.Nanosecond), 100*middle.busy)
}

// spread is the middle of some figures, and how far they lie apart.
type spread struct{ Middle, Low, High float64 }

// spreadOf holds what was measured of one side against the other's of the same
// round.
func spreadOf[T any](a, b []T, of func(T) float64) spread {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = of(a[i]) / of(b[i])
	}
	return spreadIn(ratios, func(r float64) float64 { return r })
}

// spreadIn is that of figures which stand alone.
func spreadIn[T any](all []T, of func(T) float64) spread {
	figures := make([]float64, len(all))
	for i, x := range all {
		figures[i] = of(x)
	}
	slices.Sort(figures)
	return spread{figures[len(figures)/2], figures[0], figures[len(figures)-1]}
}

// row is one line of the report.
type row struct {
	Section, What, Beside, Measure string
	Spread                         spread
	Least, Most                    float64 // what the middle has to be; 0: anything
	Unit                           string  // "" is a ratio
	Context                        string
}

// write hands a row to the process that writes the report.
func write(r row) {
	_ = json.NewEncoder(os.Stdout).Encode(r) // the report misses what it was not told, and says so
}
