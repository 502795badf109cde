package mapstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
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
	fill(b, s, 1_000_000, 10_000)
	text, err := os.ReadFile(cfg.Tokens)
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	var grouped, single, plain, groupedTime, singleTime, plainTime float64
	for b.Loop() {
		for range 4 { // in turns, so that a busy moment hits all
			began := time.Now()
			var wg sync.WaitGroup
			for range 32 {
				wg.Go(func() {
					for range 32 {
						if err := create(s, int(next.Add(1))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			grouped, groupedTime = grouped+32*32, groupedTime+time.Since(began).Seconds()
			began = time.Now()
			for range 10 {
				if err := (durable.Files{}).Write(filepath.Join(cfg.Home, "rewrite.json"), text); err != nil {
					b.Fatal(err)
				}
			}
			plain, plainTime = plain+10, plainTime+time.Since(began).Seconds()
			began = time.Now()
			for range 10 {
				if err := create(s, int(next.Add(1))); err != nil {
					b.Fatal(err)
				}
			}
			single, singleTime = single+10, singleTime+time.Since(began).Seconds()
		}
	}
	b.ReportMetric(grouped/groupedTime, "creates/s")
	b.ReportMetric(single/singleTime, "creates/s-alone")
	b.ReportMetric(plain/plainTime, "rewrites/s")
	b.ReportMetric(grouped/groupedTime/(plain/plainTime), "ratio")
}

func BenchmarkOpen(b *testing.B) {
	cfg := newHome(b, durable.Files{})
	s, err := mapstore.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, s, 0, 10_000)
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
