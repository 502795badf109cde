package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

// besideWriter measures warm verdicts while a writer on another core changes
// other tokens, ten thousand times a second: half are made, half are deleted and
// forgotten.
func (p plan) besideWriter() error {
	const name = "warm verdict beside a writer of 10,000 changes/s"
	if !p.only.MatchString(name) {
		return nil
	}
	s, err := newStock(p.live, p.presented, 0)
	if err != nil {
		return err
	}
	read := s.decide(s.texts, liveset.Allowed)
	written := p.live
	var changes []float64
	busy := func(do func() (paced, error)) (paced, error) {
		done := make(chan struct{})
		var wg sync.WaitGroup
		began, from := time.Now(), written
		wg.Go(func() { written = s.write(written, 10_000, done) })
		took, err := do()
		close(done)
		wg.Wait()
		changes = append(changes, 3*float64(written-from)/time.Since(began).Seconds())
		return took, err
	}
	var alone, beside []paced
	at := 0
	for round := -1; round < 2*p.turns; round++ {
		quiet, err1 := pace(read, &at, p.turn/2)
		loud, err2 := busy(func() (paced, error) { return pace(read, &at, p.turn/2) })
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if round >= 0 {
			alone, beside = append(alone, quiet), append(beside, loud)
		}
	}
	done := spreadIn(changes, func(c float64) float64 { return c })
	write(row{
		Section: "verdicts", What: name, Beside: "the same without the writer", Measure: "time", Spread: spreadOf(beside, alone, each), Most: 1.05,
		Context: fmt.Sprintf("%.0f changes/s · %s · %s", done.Middle, middle(beside).each, middle(alone).each),
	})
	return nil
}

// write makes, deletes and forgets tokens at a steady rate until done, and
// answers the number of the next one. Each is three changes.
func (s *stock) write(next, rate int, done <-chan struct{}) int {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began, changes := time.Now(), 0; ; {
		select {
		case <-done:
			return next
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * float64(rate)); changes < due; changes += 3 {
			t := s.fill.token(next)
			s.set.Apply(change(&t))
			gone := t
			gone.DeletedAt = t.CreatedAt
			s.set.Apply(change(&gone))
			s.set.Apply(authority.Change{Tokens: []authority.Changed[authority.TokenID, authority.Token]{{Key: t.ID}}})
			next++
		}
	}
}

// memory measures what many live tokens take, and what a full collection of the
// garbage takes beside them, with the presented ones recognised.
func (p plan) memory() error {
	const name = "live set"
	if !p.only.MatchString(name) {
		return nil
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, err := newStock(p.many, p.presented, 0)
	if err != nil {
		return err
	}
	decide := s.decide(s.texts, liveset.Allowed)
	for n := range s.texts {
		if err := decide(n); err != nil {
			return err
		}
	}
	s.texts = nil // the clients have them, the set has not
	runtime.GC()
	runtime.ReadMemStats(&after)
	fmt.Fprintln(os.Stderr, "bench: full collections")
	var collections []float64
	for range 4 * p.turns {
		began := time.Now()
		runtime.GC()
		collections = append(collections, float64(time.Since(began))/float64(time.Millisecond))
	}
	same := func(v float64) float64 { return v }
	each := float64(after.HeapInuse-before.HeapInuse) / float64(p.many)
	what := fmt.Sprintf("%s of %d tokens", name, p.many)
	write(row{Section: "memory", What: what, Measure: "heap in use, a token", Unit: "bytes", Spread: spreadIn([]float64{each}, same), Most: 64})
	write(row{Section: "memory", What: what, Measure: "full collection", Unit: "ms", Spread: spreadIn(collections, same), Most: 5})
	runtime.KeepAlive(s)
	return nil
}
