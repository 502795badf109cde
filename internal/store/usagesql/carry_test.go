package usagesql_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/usagesql"
)

// lived fills a file as a server does: tokens with one row or very many, one that
// is not known for certain, hours that have become days. The last record is the
// one of them that has everything.
func lived(t *testing.T, s *usagesql.Store, many int) (all []authority.UsageRecord) {
	t.Helper()
	add(t, s, 1, authority.UsageRecord{Refusals: []authority.UsageRefusal{{Reason: "unknown", From: "10.0.0.9", First: noon(), Last: noon(), Count: 7}}})
	ids := []authority.TokenID{""}
	var records []authority.UsageRecord
	for i := range many {
		r := authority.UsageRecord{
			Token: authority.TokenID(fmt.Sprintf("tok_%05d", i)), Hours: []authority.UsageCount{{Start: noon(), Key: "k1", Allowed: uint64(i + 1)}},
		}
		if i%20 == 0 {
			for h := range 200 {
				r.Hours = append(r.Hours, authority.UsageCount{Start: noon().Add(-time.Duration(h+1) * time.Hour), Key: "k1", Allowed: 2})
			}
		}
		ids, records = append(ids, r.Token), append(records, r)
	}
	add(t, s, 2, records...)
	old := record("tok_old")
	old.Hours[0].Start = noon().AddDate(0, 0, -20)
	old.Sources = append(old.Sources, authority.UsageSource{First: noon(), Last: noon(), Allowed: 60}) // the rest of many
	add(t, s, 3, old)
	must(t, s.PruneUsage(t.Context(), noon()))
	for _, id := range append(ids, "tok_old") {
		r, err := s.Usage(t.Context(), id)
		must(t, err)
		all = append(all, r)
	}
	if r := all[len(all)-1]; len(r.Days) != 1 || len(r.Sources) != 3 {
		t.Fatalf("it is not as it is meant to be: %+v", r)
	}
	return all
}

func TestWhatAFileHasIsAddedToASharedDatabaseOnce(t *testing.T) {
	t.Parallel()
	from, to := open(t, filepath.Join(t.TempDir(), "usage.db")), attach(t, tables(t))
	all := lived(t, from, 1100)
	add(t, to, 1, record("tok_old")) // counted there before
	if n, err := from.Tokens(t.Context()); err != nil || n != len(all) {
		t.Errorf("it has %d tokens and says %d: %v", len(all), n, err)
	}
	carried := 0
	for _, enough := range []int{1, 1000} { // the first time it is cut short
		carried = 0
		for b, err := range from.Batches(t.Context(), "file") {
			must(t, err)
			must(t, to.AddUsage(t.Context(), b))
			if carried++; carried == enough {
				break
			}
		}
	}
	if carried < 2 {
		t.Fatalf("%d batches: the test shows nothing of their border", carried)
	}
	must(t, to.BeganAt(t.Context(), noon().AddDate(0, -1, 0)))
	must(t, to.BeganAt(t.Context(), noon()))
	since, err := to.UsageSince(t.Context())
	must(t, err)
	if want := noon().AddDate(0, -1, 0); !since.Equal(want) {
		t.Errorf("since %v, want %v", since, want)
	}
	for _, r := range all[:len(all)-1] {
		same(t, to, r)
	}
	sum, err := to.Usage(t.Context(), "tok_old")
	must(t, err)
	if n := sum.Sources[0].Allowed + sum.Sources[1].Allowed + sum.Sources[2].Allowed; n != 66 || len(sum.Days) != 1 || len(sum.Hours) != 1 {
		t.Errorf("%d allowed: %+v", n, sum)
	}
}

func TestAFileThatCountedNothingHasNothingToAdd(t *testing.T) {
	t.Parallel()
	for b, err := range open(t, filepath.Join(t.TempDir(), "usage.db")).Batches(t.Context(), "file") {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestAFileThatCannotBeUsedIsNotBegunAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usage.db")
	if _, err := usagesql.OpenKept(t.Context(), path, noon()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	damaged := strings.Repeat("no database at all, and longer than a header is ", 100)
	must(t, os.WriteFile(path, []byte(damaged), 0o600))
	if _, err := usagesql.OpenKept(t.Context(), path, noon()); err == nil {
		t.Error("it is opened")
	}
	if is, err := os.ReadFile(path); err != nil || string(is) != damaged {
		t.Errorf("it is not as it was: %v", err)
	}
}
