package mapstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
)

// fill inserts tokens in one transaction.
func fill(t testing.TB, s *mapstore.Store, from, n int) {
	t.Helper()
	err := s.Update(context.Background(), func(tx authority.Tx) error {
		for i := range n {
			if err := tx.Tokens().Insert(storetest.Token(from + i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func create(s *mapstore.Store, n int) error {
	v := storetest.Token(n)
	return s.Update(context.Background(), func(tx authority.Tx) error {
		return errors.Join(tx.Tokens().Insert(v),
			tx.Audit().Append(authority.Event{At: v.CreatedAt, Action: "token.created", Target: string(v.ID), Label: v.ClientID, Outcome: authority.OutcomeOK}))
	})
}

// BenchmarkCreate measures, in one run, creating tokens by 32 callers beside
// 10,000 others, and one synced full rewrite of the same file per token.
func BenchmarkCreate(b *testing.B) {
	cfg := newHome(b, durable.Files{})
	s := open(b, cfg)
	fill(b, s, residents, population)
	text, err := os.ReadFile(cfg.Tokens)
	if err != nil {
		b.Fatal(err)
	}
	var grouped, alone, plain speed
	for b.Loop() {
		for range 8 { // in turns, so that a busy moment hits all
			grouped.measure(32*16, func() { createTogether(b, s, 32, 16) })
			clearOut(b, s)
			plain.measure(16, func() {
				for range 16 {
					if err := (durable.Files{}).Write(filepath.Join(cfg.Home, "rewrite.json"), text); err != nil {
						b.Fatal(err)
					}
				}
			})
			alone.measure(16, func() { createTogether(b, s, 1, 16) })
			clearOut(b, s)
		}
	}
	b.ReportMetric(grouped.rate(), "creates/s")
	b.ReportMetric(alone.rate(), "creates/s-alone")
	b.ReportMetric(plain.rate(), "rewrites/s")
	b.ReportMetric(grouped.rate()/plain.rate(), "ratio")
}

// speed is how often something was done in how long.
type speed struct {
	times int
	took  time.Duration
}

func (s *speed) measure(times int, do func()) {
	began := time.Now()
	do()
	s.times, s.took = s.times+times, s.took+time.Since(began)
}

func (s *speed) rate() float64 { return float64(s.times) / s.took.Seconds() }

func createTogether(b *testing.B, s *mapstore.Store, callers, each int) {
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				if err := create(s, c*each+i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// clearOut leaves the residents only, so that every turn begins alike.
func clearOut(b *testing.B, s *mapstore.Store) {
	b.Helper()
	err := s.Update(context.Background(), func(tx authority.Tx) error {
		for v, err := range tx.Tokens().All() {
			if err != nil || v.ID >= storetest.Token(residents).ID {
				return err
			}
			if err := tx.Tokens().Delete(v.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkOpen(b *testing.B) {
	cfg := newHome(b, durable.Files{})
	s, err := mapstore.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, s, residents, population)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := mapstore.Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
