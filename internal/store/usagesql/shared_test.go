package usagesql_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/internal/authority"
	"mintmark/internal/store/postgrestest"
	"mintmark/internal/store/usagesql"
)

// writers add to the same tokens at one time, each from sources of its own, and one
// who prunes is always there.
func TestWhatManyWritersAddAtOnceAddsUp(t *testing.T) {
	t.Parallel()
	const writers, batches, tokens = 6, 20, 40
	address := tables(t)
	ctx, end := context.WithCancel(context.Background())
	var adding, pruning sync.WaitGroup
	old := noon().Add(-20 * 24 * time.Hour)
	for w := range writers {
		s := attach(t, address)
		adding.Go(func() {
			for n := range batches {
				b := authority.UsageBatch{Writer: fmt.Sprint("w", w), Number: uint64(n + 1)}
				for i := range tokens {
					id := authority.TokenID(fmt.Sprint("t", (i*7+w*n)%tokens)) // in another order each time
					at := noon().Add(time.Duration(n) * time.Second)
					b.Records = append(b.Records, authority.UsageRecord{
						Token: id, Keys: []authority.KeyUse{{Key: "k1", First: at, Last: at, From: "10.0.0.1"}},
						Hours:    []authority.UsageCount{{Start: noon(), Key: "k1", Allowed: 1}, {Start: old, Key: "k1", Allowed: 1}},
						Sources:  []authority.UsageSource{{From: fmt.Sprintf("10.0.%d.%d", w, n), Key: "k1", First: at, Last: at, Allowed: 2}, {From: "10.1.0.1", First: at, Last: at, Refused: 1}},
						Refusals: []authority.UsageRefusal{{Reason: "expired", From: "10.1.0.1", First: at, Last: at, Count: 1}},
					})
				}
				if err := s.AddUsage(ctx, b); err != nil {
					t.Errorf("writer %d, batch %d: %v", w, n, err)
				}
			}
		})
	}
	for range 2 {
		s := attach(t, address)
		pruning.Go(func() {
			for ctx.Err() == nil {
				if err := s.PruneUsage(context.WithoutCancel(ctx), noon()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	adding.Wait()
	end()
	pruning.Wait()
	s := attach(t, address)
	must(t, s.PruneUsage(t.Context(), noon()))
	for i := range tokens {
		r, err := s.Usage(t.Context(), authority.TokenID(fmt.Sprint("t", i)))
		must(t, err)
		const all = writers * batches
		want := authority.UsageRecord{
			Token: r.Token, Keys: []authority.KeyUse{{Key: "k1", First: noon(), Last: noon().Add((batches - 1) * time.Second), From: "10.0.0.1"}},
			Hours: []authority.UsageCount{{Start: noon(), Key: "k1", Allowed: all}}, Days: []authority.UsageCount{{Start: old.Truncate(24 * time.Hour), Key: "k1", Allowed: all}},
			Sources:  r.Sources,
			Refusals: []authority.UsageRefusal{{Reason: "expired", From: "10.1.0.1", First: noon(), Last: noon().Add((batches - 1) * time.Second), Count: all}},
		}
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		allowed, refused := uint64(0), uint64(0)
		for _, n := range r.Sources {
			allowed, refused = allowed+n.Allowed, refused+n.Refused
		}
		if len(r.Sources) != authority.MaxSources+1 || allowed != 2*all || refused != all {
			t.Errorf("%d sources, %d allowed, %d refused", len(r.Sources), allowed, refused)
		}
	}
}

func TestOnlyWhatWasAddedSinceIsHandedOver(t *testing.T) {
	t.Parallel()
	address := tables(t)
	here, there := attach(t, address), attach(t, address)
	late := record("late") // of a node that could not save for long
	late.Keys[0].First, late.Keys[0].Last = noon().Add(-2*time.Hour), noon().Add(-time.Hour)
	look := func(after uint64, want ...authority.TokenID) uint64 {
		t.Helper()
		var got []authority.TokenID
		mark, err := here.LastUses(t.Context(), []authority.KeyID{"k1"}, after, func(id authority.TokenID, _ authority.KeyUse) { got = append(got, id) })
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %d (-want +got):\n%s", after, diff)
		}
		return mark
	}
	first := look(0)
	add(t, there, 1, record("a"))
	second := look(first, "a")
	look(second)
	must(t, there.AddUsage(t.Context(), authority.UsageBatch{Writer: "another", Number: 1, Records: []authority.UsageRecord{late}}))
	third := look(second, "late")
	look(third)
	look(third+5, "a", "late") // another database than the one that it was
}

func TestANodeNeedsToReadAndWriteRowsAndNoMore(t *testing.T) {
	t.Parallel()
	address := tables(t)
	at, err := url.Parse(address)
	must(t, err)
	schema := at.Query().Get("search_path")
	server := postgrestest.Shared(t)
	server.Exec(t, "postgres", `CREATE ROLE node_`+schema+` LOGIN`)
	t.Cleanup(func() { server.Exec(t, "postgres", `DROP ROLE node_`+schema) })
	for _, text := range []string{`GRANT USAGE ON SCHEMA ` + schema, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ` + schema} {
		server.Exec(t, "postgres", text+` TO node_`+schema)
	}
	t.Cleanup(func() { server.Exec(t, "postgres", `DROP OWNED BY node_`+schema) })
	at.User = url.User("node_" + schema)
	s := attach(t, at.String())
	add(t, s, 1, record("a"))
	must(t, s.PruneUsage(t.Context(), noon()))
	same(t, s, record("a"))
}

func TestADatabaseWithoutTheTablesIsRefused(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("pgx", postgrestest.Shared(t).Schema(t))
	must(t, err)
	defer db.Close()
	if _, err := usagesql.Attach(t.Context(), db, noon()); authority.KindOf(err) != authority.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestADatabaseThatTakesNoChangesNowIsAttached(t *testing.T) {
	t.Parallel()
	address := tables(t)
	at, err := url.Parse(address)
	must(t, err)
	values := at.Query()
	values.Set("default_transaction_read_only", "on")
	at.RawQuery = values.Encode()
	db, err := sql.Open("pgx", at.String())
	must(t, err)
	defer db.Close()
	if _, err := usagesql.Attach(t.Context(), db, noon()); authority.KindOf(err) != authority.Unavailable {
		t.Errorf("before the counting has begun: %v", err)
	}
	attach(t, address)
	later, err := usagesql.Attach(t.Context(), db, noon().Add(time.Hour))
	must(t, err)
	if since, err := later.UsageSince(t.Context()); err != nil || !since.Equal(noon()) {
		t.Errorf("counted since %s, %v", since, err)
	}
	b := authority.UsageBatch{Writer: "w", Number: 1, Records: []authority.UsageRecord{record("a")}}
	if err := later.AddUsage(t.Context(), b); authority.KindOf(err) != authority.Unavailable {
		t.Errorf("a batch that is not taken: %v", err)
	}
}

func TestADatabaseThatDoesNotAnswerIsNotWaitedForWithoutEnd(t *testing.T) {
	t.Parallel()
	address := tables(t)
	s := attach(t, address)
	db, err := sql.Open("pgx", address)
	must(t, err)
	defer db.Close()
	tx, err := db.Begin()
	must(t, err)
	defer func() { must(t, tx.Rollback()) }()
	_, err = tx.Exec(`LOCK TABLE usage_hours IN ACCESS EXCLUSIVE MODE`)
	must(t, err)
	ctx, end := context.WithTimeout(t.Context(), 30*time.Second)
	defer end()
	of := []authority.TokenID{"a"}
	var asking sync.WaitGroup
	for name, ask := range map[string]func() error{
		"what a token is used for": func() error { _, err := s.Usage(ctx, "a"); return err },
		"sums":                     func() error { _, err := s.UsageSums(ctx, noon(), of); return err },
		"days":                     func() error { _, err := s.UsageByDay(ctx, noon(), of); return err },
	} {
		asking.Go(func() {
			if err := ask(); authority.KindOf(err) != authority.Unavailable {
				t.Errorf("%s: %v", name, err)
			}
			if ctx.Err() != nil {
				t.Errorf("%s: nobody gave up", name)
			}
		})
	}
	asking.Wait()
}
