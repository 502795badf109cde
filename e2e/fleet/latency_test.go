package fleet

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// BenchmarkARevocationReachesEveryNode measures from asking one node to revoke to
// the first refusal on each other, beside how long a bare transaction with a
// NOTIFY takes from its BEGIN until another connection has it, in turns; and from
// the answer of the revocation on.
func BenchmarkARevocationReachesEveryNode(b *testing.B) {
	for _, callers := range []int{0, 16} {
		name := "quiet"
		if callers > 0 {
			name = fmt.Sprintf("while %d callers verify", callers)
		}
		b.Run(name, func(b *testing.B) {
			f := newFleetBehind(b, 3, func(*cluster) *proxy { return nil })
			stop := f.load(b, callers)
			defer stop()
			bare := newBare(b, f.cluster)
			var ours, after, theirs []time.Duration
			for b.Loop() {
				theirs = append(theirs, bare.notify(b))
				asked, answered := f.revocation(b)
				ours, after = append(ours, asked...), append(after, answered...)
			}
			report := func(what string, all []time.Duration) time.Duration {
				slices.Sort(all)
				p99 := all[min(len(all)-1, len(all)*99/100)]
				b.ReportMetric(float64(all[len(all)/2].Microseconds()), what+"-p50-µs")
				b.ReportMetric(float64(p99.Microseconds()), what+"-p99-µs")
				return p99
			}
			report("answered", after)
			mine, floor := report("revoke", ours), report("notify", theirs)
			b.ReportMetric(float64(mine)/float64(floor), "p99-ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// between is the pause of who asks a node again whether it refuses: asking without
// one is a load of its own, on every node.
const between = 500 * time.Microsecond

// revocation answers, for each other node, how long after asking for a revocation
// it refuses, and how long after its answer.
func (f *fleet) revocation(b *testing.B) (asked, answered []time.Duration) {
	b.Helper()
	here, others := f.nodes[0], f.nodes[1:]
	made := here.ask(b.Context(), "POST", "/api/v1/tokens", f.authorization(), map[string]any{"client_id": "short", "role": "user"})
	if made.status != http.StatusCreated {
		b.Fatalf("no token: %d %s", made.status, made.body)
	}
	text := made.field("token")
	asks := func(n *node, want int) bool {
		return n.ask(b.Context(), "GET", "/auth/verify", text, nil).status == want
	}
	for _, n := range others {
		eventually(b, "a node knows a new token", func() bool { return asks(n, http.StatusOK) })
	}
	refused := make([]time.Time, len(others))
	var wg sync.WaitGroup
	for i, n := range others {
		wg.Go(func() {
			for !asks(n, http.StatusUnauthorized) {
				time.Sleep(between)
			}
			refused[i] = time.Now()
		})
	}
	began := time.Now()
	if got := here.ask(b.Context(), "DELETE", "/api/v1/tokens/"+made.field("id"), f.authorization(), nil); got.status != http.StatusNoContent {
		b.Fatalf("not revoked: %d %s", got.status, got.body)
	}
	end := time.Now()
	wg.Wait()
	for _, at := range refused {
		asked, answered = append(asked, at.Sub(began)), append(answered, max(0, at.Sub(end)))
	}
	return asked, answered
}

// load keeps every node busy with verifications until it is stopped.
func (f *fleet) load(b *testing.B, callers int) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for i := range callers {
		n := f.nodes[i%len(f.nodes)]
		wg.Go(func() {
			for ctx.Err() == nil {
				n.ask(ctx, "GET", "/auth/verify", f.authorization(), nil)
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// bare is two connections of which one notifies the other.
type bare struct{ says, hears *pgx.Conn }

func newBare(b *testing.B, c *cluster) bare {
	b.Helper()
	var all [2]*pgx.Conn
	for i := range all {
		conn, err := pgx.Connect(b.Context(), c.url(""))
		must(b, err)
		b.Cleanup(func() { _ = conn.Close(context.Background()) })
		all[i] = conn
	}
	_, err := all[1].Exec(b.Context(), "LISTEN bare")
	must(b, err)
	_, err = all[0].Exec(b.Context(), "CREATE TABLE IF NOT EXISTS bare (n bigint)")
	must(b, err)
	return bare{all[0], all[1]}
}

// notify commits a row with a notification, as a revocation does.
func (p bare) notify(b *testing.B) time.Duration {
	b.Helper()
	heard := make(chan time.Time, 1)
	go func() {
		_, _ = p.hears.WaitForNotification(b.Context())
		heard <- time.Now()
	}()
	began := time.Now()
	tx, err := p.says.Begin(b.Context())
	must(b, err)
	_, err = tx.Exec(b.Context(), "INSERT INTO bare VALUES (1)")
	must(b, err)
	_, err = tx.Exec(b.Context(), "NOTIFY bare")
	must(b, err)
	must(b, tx.Commit(b.Context()))
	return (<-heard).Sub(began)
}
