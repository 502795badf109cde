package liveset_test

import (
	"fmt"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
	"mintmark/internal/liveset"
)

// BenchmarkDecide measures verdicts on 10,000 tokens beside the bare signature
// check of the same algorithm, in one run: warm asks for one token again and
// again, cold for each token in turn, refused for one that was deleted.
func BenchmarkDecide(b *testing.B) {
	for _, alg := range algorithms() {
		h := newHouse(b, alg)
		texts := make([]string, 10_000)
		change := authority.Change{}
		for i := range texts {
			token := theToken()
			token.ID = authority.TokenID(fmt.Sprintf("tok_%026d", i+1000))
			change.Tokens = append(change.Tokens, tokenChange(token))
			texts[i] = h.text(b, token)
		}
		deleted := theToken()
		deleted.DeletedAt = start()
		change.Tokens = append(change.Tokens, tokenChange(deleted))
		h.Apply(change)
		demand := liveset.Demand{From: addr("192.0.2.1")}
		u, err := jws.ParseToken(texts[0])
		must(b, err)
		v := h.keys["current"].Verifier()
		bare := func() {
			if _, err := u.Verify(v); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(string(alg)+"/signature", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bare()
			}
		})
		gone := []string{h.text(b, deleted)}
		for _, c := range []struct {
			name  string
			texts []string
			want  liveset.Reason
		}{{"warm", texts[:1], liveset.Allowed}, {"cold", texts, liveset.Allowed}, {"refused", gone, liveset.Deleted}} {
			b.Run(string(alg)+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				var deciding, checking time.Duration
				i := 0
				for ; b.Loop(); i++ {
					began := time.Now()
					got := h.Decide(c.texts[i%len(c.texts)], demand)
					between := time.Now()
					bare()
					deciding, checking = deciding+between.Sub(began), checking+time.Since(between)
					if got.Reason != c.want {
						b.Fatal(got.Reason)
					}
				}
				b.ReportMetric(float64(deciding.Nanoseconds())/float64(i), "ns/verdict")
				b.ReportMetric(float64(deciding)/float64(checking), "signatures/verdict")
			})
		}
	}
}
