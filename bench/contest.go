package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
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
func (p plan) load(ctx context.Context) error {
	doors, line, err := p.start(ctx, "doors", p.serverCore)
	if err != nil {
		return err
	}
	var told opened
	err = json.Unmarshal(line, &told)
	for _, c := range contests(told) {
		if err == nil && p.only.MatchString(c.name) {
			err = p.measure(ctx, c)
		}
	}
	return errors.Join(err, doors.end())
}

func contests(o opened) []contest {
	each := func(request func(string) []byte) [][]byte {
		requests := make([][]byte, len(o.Tokens))
		for i, token := range o.Tokens {
			requests[i] = request(token)
		}
		return requests
	}
	verify := each(forwardAuth)
	return []contest{
		{"forward-auth", []side{
			{name: "door", target: target{o.Addresses["doors"], verify, speakHTTP}},
			{name: "a bare handler of the same bytes", target: target{o.Addresses["forward-auth floor"], verify, speakHTTP}, rate: 0.93, p99: 1.5},
			{name: "a bare 204", target: target{o.Addresses["204"], verify, speakHTTP}, rate: 0.80},
		}},
	}
}

// measure gives each side its turns; who is first changes with every round.
func (p plan) measure(ctx context.Context, c contest) error {
	turns := make([][]turnOf, len(c.sides))
	for round := -1; round < p.turns; round++ { // the first one warms up
		for i := range c.sides {
			at := (i + max(round, 0)) % len(c.sides)
			t, err := drive(ctx, c.sides[at].target, p.connections, p.turn)
			if err != nil {
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
	}
	return nil
}

// told is the middle of the turns as absolute figures.
func told(turns []turnOf) string {
	middle := slices.SortedFunc(slices.Values(turns), func(a, b turnOf) int { return cmp.Compare(a.rate, b.rate) })[len(turns)/2]
	return fmt.Sprintf("%.1fk/s, p50 %s, p99 %s, load %.0f%%", middle.rate/1000, middle.p50.Round(time.Microsecond), middle.p99.Round(time.Microsecond), 100*middle.busy)
}

// spread is the middle of ratios, and how far they lie apart.
type spread struct{ Middle, Low, High float64 }

// spreadOf holds what was measured of one side against the other's of the same
// round.
func spreadOf[T any](a, b []T, of func(T) float64) spread {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = of(a[i]) / of(b[i])
	}
	slices.Sort(ratios)
	return spread{ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1]}
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
