package usagesql_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mintmark/internal/authority"
	"mintmark/internal/store/postgrestest"
	"mintmark/internal/store/usagesql"
)

func noon() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a file of counts in a folder.
func open(t testing.TB, path string) *usagesql.Store {
	t.Helper()
	s, aside, err := usagesql.Open(t.Context(), path, noon())
	must(t, err)
	if aside != "" {
		t.Fatalf("the file was moved to %s", aside)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

// everywhere runs a test on every database.
func everywhere(t *testing.T, test func(*testing.T, *usagesql.Store)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, filepath.Join(t.TempDir(), "usage.db")))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, attach(t, tables(t)))
	})
}

// tables makes the tables and answers where they are.
func tables(t testing.TB) (address string) {
	t.Helper()
	address = postgrestest.Shared(t).Schema(t)
	db, err := sql.Open("pgx", address)
	must(t, err)
	defer db.Close()
	for range 2 {
		for _, table := range usagesql.Tables() {
			_, err := db.Exec(table[1])
			must(t, err)
		}
	}
	return address
}

func attach(t testing.TB, address string) *usagesql.Store {
	t.Helper()
	db, err := sql.Open("pgx", address)
	must(t, err)
	s, err := usagesql.Attach(t.Context(), db, noon())
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func record(id authority.TokenID) authority.UsageRecord {
	return authority.UsageRecord{
		Token: id,
		Keys:  []authority.KeyUse{{Key: "k1", First: noon(), Last: noon().Add(time.Minute), From: "10.0.0.1"}},
		Hours: []authority.UsageCount{{Start: noon(), Key: "k1", Allowed: 3, Refused: 1}},
		Sources: []authority.UsageSource{
			{From: "10.0.0.1", Via: "10.9.9.9", Key: "k1", First: noon(), Last: noon().Add(time.Minute), Allowed: 3},
			{From: "10.0.0.2", First: noon(), Last: noon(), Refused: 1},
		},
		Refusals: []authority.UsageRefusal{{Reason: "expired", From: "10.0.0.2", First: noon(), Last: noon(), Count: 1}},
	}
}

func add(t testing.TB, s *usagesql.Store, number uint64, records ...authority.UsageRecord) {
	t.Helper()
	must(t, s.AddUsage(t.Context(), authority.UsageBatch{Writer: "w", Number: number, Records: records}))
}

func same(t *testing.T, s *usagesql.Store, want authority.UsageRecord) {
	t.Helper()
	got, err := s.Usage(t.Context(), want.Token)
	must(t, err)
	bySource := cmpopts.SortSlices(func(a, b authority.UsageSource) bool { return a.From+a.Via < b.From+b.Via })
	byStart := cmpopts.SortSlices(func(a, b authority.UsageCount) bool {
		return a.Start.Before(b.Start) || a.Start.Equal(b.Start) && a.Key < b.Key
	})
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), bySource, byStart); diff != "" {
		t.Errorf("%s (-want +got):\n%s", want.Token, diff)
	}
}

func TestCountsAddUpAndSurviveAReopening(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usage.db")
	s := open(t, path)
	add(t, s, 1, record("a"), record("b"))
	later := record("a")
	later.Keys[0] = authority.KeyUse{Key: "k1", First: noon().Add(-time.Hour), Last: noon().Add(time.Hour), From: "10.0.0.7"}
	later.Hours = append(later.Hours, authority.UsageCount{Start: noon().Add(time.Hour), Key: "k2", Allowed: 5})
	later.Sources[0].Key, later.Sources[0].Last = "k2", noon().Add(time.Hour)
	later.Refusals[0].From, later.Refusals[0].Last = "10.0.0.9", noon().Add(time.Hour)
	add(t, s, 2, later)
	must(t, s.Close())

	s = open(t, path)
	same(t, s, record("b"))
	want := record("a")
	want.Keys[0] = later.Keys[0]
	want.Hours = []authority.UsageCount{{Start: noon(), Key: "k1", Allowed: 6, Refused: 2}, {Start: noon().Add(time.Hour), Key: "k2", Allowed: 5}}
	want.Sources[0].Key, want.Sources[0].Last, want.Sources[0].Allowed, want.Sources[1].Refused = "k2", noon().Add(time.Hour), 6, 2
	want.Refusals[0].From, want.Refusals[0].Last, want.Refusals[0].Count = "10.0.0.9", noon().Add(time.Hour), 2
	same(t, s, want)
	same(t, s, authority.UsageRecord{Token: "nobody"})
	since, err := s.UsageSince(t.Context())
	must(t, err)
	if !since.Equal(noon()) {
		t.Errorf("since %v", since)
	}
}

func TestABatchThatIsSentAgainIsAddedOnce(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *usagesql.Store) {
		t.Helper()
		add(t, s, 7, record("a"))
		add(t, s, 7, record("a"))
		add(t, s, 6, record("a"))
		same(t, s, record("a"))
	})
}

func TestABatchIsAddedWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *usagesql.Store) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := s.AddUsage(ctx, authority.UsageBatch{Writer: "w", Number: 1, Records: []authority.UsageRecord{record("a")}})
		if err == nil || authority.KindOf(err) != authority.Unavailable {
			t.Fatalf("got %v", err)
		}
		same(t, s, authority.UsageRecord{Token: "a"})
		add(t, s, 1, record("a"))
		same(t, s, record("a"))
	})
}

func TestSourcesBeyondTheBoundAreOne(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *usagesql.Store) {
		t.Helper()
		for n := range 50 {
			at := noon().Add(time.Duration(n) * time.Second)
			add(t, s, uint64(n+1), authority.UsageRecord{Token: "a", Sources: []authority.UsageSource{
				{From: fmt.Sprintf("10.0.0.%d", n), Key: "k1", First: at, Last: at, Allowed: 2, Refused: 1},
			}})
		}
		got, err := s.Usage(t.Context(), "a")
		must(t, err)
		allowed, refused, rest := uint64(0), uint64(0), 0
		for _, one := range got.Sources {
			allowed, refused = allowed+one.Allowed, refused+one.Refused
			if one.From == "" {
				rest++
				if !one.Last.Equal(noon().Add(29*time.Second)) || one.Allowed != 60 {
					t.Errorf("the rest is %+v", one)
				}
			}
		}
		if len(got.Sources) != authority.MaxSources+1 || allowed != 100 || refused != 50 || rest != 1 {
			t.Errorf("%d sources, %d allowed, %d refused, %d for the rest", len(got.Sources), allowed, refused, rest)
		}
	})
}

func TestOldHoursBecomeDaysAndOldDaysGo(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *usagesql.Store) {
		t.Helper()
		day := 24 * time.Hour
		count := func(at time.Time, n uint64) authority.UsageCount {
			return authority.UsageCount{Start: at, Key: "k1", Allowed: n, Refused: 1}
		}
		today := noon().Truncate(day)
		old := record("old")
		old.Hours = nil
		for _, last := range []*time.Time{&old.Keys[0].Last, &old.Sources[0].Last, &old.Sources[1].Last, &old.Refusals[0].Last} {
			*last = noon().Add(-91 * day)
		}
		add(t, s, 1, old, authority.UsageRecord{Token: "a", Hours: []authority.UsageCount{
			count(today.Add(-14*day), 1), count(today.Add(-14*day-time.Hour), 2), count(today.Add(-14*day-2*time.Hour), 4), count(today.Add(-100*day), 8), count(noon(), 16),
		}})
		for range 2 {
			must(t, s.PruneUsage(t.Context(), noon()))
			same(t, s, authority.UsageRecord{Token: "a", Hours: []authority.UsageCount{count(today.Add(-14*day), 1), count(noon(), 16)}, Days: []authority.UsageCount{
				{Start: today.Add(-15 * day), Key: "k1", Allowed: 6, Refused: 2},
			}})
			same(t, s, authority.UsageRecord{Token: "old"})
		}
		// A batch that comes late finds its day.
		add(t, s, 2, authority.UsageRecord{Token: "a", Hours: []authority.UsageCount{count(today.Add(-15*day), 1)}})
		must(t, s.PruneUsage(t.Context(), noon()))
		same(t, s, authority.UsageRecord{Token: "a", Hours: []authority.UsageCount{count(today.Add(-14*day), 1), count(noon(), 16)}, Days: []authority.UsageCount{
			{Start: today.Add(-15 * day), Key: "k1", Allowed: 7, Refused: 3},
		}})
	})
}

func TestSumsAreOfAnHourOn(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *usagesql.Store) {
		t.Helper()
		var ids []authority.TokenID
		var records []authority.UsageRecord
		for n := range 1200 { // more than a statement takes
			id := authority.TokenID(fmt.Sprint("t", n))
			ids = append(ids, id)
			records = append(records, authority.UsageRecord{Token: id, Hours: []authority.UsageCount{
				{Start: noon().Add(-time.Hour), Key: "k1", Allowed: 100}, {Start: noon(), Key: "k1", Allowed: 1}, {Start: noon().Add(time.Hour), Key: "k1", Allowed: 2},
			}})
		}
		records = append(records, authority.UsageRecord{Token: "", Hours: []authority.UsageCount{{Start: noon(), Refused: 5}}})
		add(t, s, 1, records...)
		for _, c := range []struct {
			of   []authority.TokenID
			many int
		}{{nil, 1200}, {ids, 1200}, {ids[:3], 3}, {[]authority.TokenID{}, 0}} {
			sums, err := s.UsageSums(t.Context(), noon(), c.of)
			must(t, err)
			if len(sums) != c.many {
				t.Errorf("%d sums, want %d", len(sums), c.many)
			}
			for _, n := range sums {
				if n.Count != 3 || n.Key != "k1" {
					t.Fatalf("%+v", n)
				}
			}
		}
	})
}

func TestTheLatestUsesUnderSomeKeysAreHandedOver(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *usagesql.Store) {
		t.Helper()
		other := record("b")
		other.Keys[0].Key = "k2"
		add(t, s, 1, record("a"), other)
		got := make(map[authority.TokenID]authority.KeyUse)
		_, err := s.LastUses(t.Context(), []authority.KeyID{"k1", "k9"}, 0, func(id authority.TokenID, k authority.KeyUse) { got[id] = k })
		must(t, err)
		if diff := cmp.Diff(map[authority.TokenID]authority.KeyUse{"a": record("a").Keys[0]}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAFileThatCannotBeUsedIsMovedAside(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, path string){
		"no database": func(t *testing.T, path string) {
			must(t, os.WriteFile(path, bytes.Repeat([]byte("text "), 999), 0o600))
		},
		"cut short": func(t *testing.T, path string) { must(t, os.Truncate(path, 4096*3+17)) },
		"overwritten": func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			must(t, err)
			for i := 4096; i < len(b); i++ {
				b[i] = byte(i * 7)
			}
			must(t, os.WriteFile(path, b, 0o600))
		},
		"another program's": func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			must(t, err)
			b[71]++ // of the application id
			must(t, os.WriteFile(path, b, 0o600))
		},
		"a later version's": func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			must(t, err)
			b[63]++ // of the user version
			must(t, os.WriteFile(path, b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "usage.db")
			s := open(t, path)
			add(t, s, 1, record("a"))
			must(t, s.Close())
			spoil(t, path)
			s, aside, err := usagesql.Open(t.Context(), path, noon())
			must(t, err)
			defer s.Close()
			if _, err := os.Stat(aside); aside == "" || err != nil {
				t.Errorf("moved to %q: %v", aside, err)
			}
			same(t, s, authority.UsageRecord{Token: "a"})
			add(t, s, 1, record("a"))
		})
	}
}

func TestNobodyElseCanReadTheCounts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usage.db")
	s := open(t, path)
	add(t, s, 1, record("a"))
	for _, part := range []string{"", "-wal", "-shm"} {
		about, err := os.Stat(path + part)
		must(t, err)
		if about.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %04o", about.Name(), about.Mode().Perm())
		}
	}
}

func BenchmarkBatch(b *testing.B) {
	benchmarkBatch(b, open(b, filepath.Join(b.TempDir(), "usage.db")))
}

func BenchmarkSharedBatch(b *testing.B) { benchmarkBatch(b, attach(b, tables(b))) }

func benchmarkBatch(b *testing.B, s *usagesql.Store) {
	var records []authority.UsageRecord
	for n := range 1000 {
		records = append(records, record(authority.TokenID(fmt.Sprintf("tok_%026d", n))))
	}
	for n := 1; b.Loop(); n++ {
		add(b, s, uint64(n), records...)
	}
}

// TestABatchIsKnownAfterAPrune adds batches that each count one kind of thing, and
// then the same again, as a writer does that has heard no answer.
func TestABatchIsKnownAfterAPrune(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *usagesql.Store) {
		t.Helper()
		whole := record("a")
		for i, part := range []authority.UsageRecord{
			{Token: "a", Keys: whole.Keys}, {Token: "a", Hours: whole.Hours}, {Token: "a", Sources: whole.Sources}, {Token: "a", Refusals: whole.Refusals},
		} {
			b := authority.UsageBatch{Writer: fmt.Sprint("w", i), Number: 1, Records: []authority.UsageRecord{part}}
			for range 2 {
				must(t, s.AddUsage(t.Context(), b))
				must(t, s.PruneUsage(t.Context(), noon()))
			}
		}
		same(t, s, whole)
	})
}
