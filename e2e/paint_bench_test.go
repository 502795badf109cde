package e2e

import (
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
)

// BenchmarkAListPaints measures the first contentful paint of a list of 50 rows
// beside that of an empty one, in turns, so that what else the machine does slows
// both. Its paint-ratio is to stay below 1.5, with 50 tokens and with 100,000.
func BenchmarkAListPaints(b *testing.B) {
	for _, of := range []struct {
		name string
		n    int
	}{{"50 tokens", 50}, {"100,000 tokens", 100_000}} {
		b.Run(of.name, func(b *testing.B) {
			s := newStage(b, true)
			s.extras(b, of.n)
			a := newSitter(b, s, "")
			paint := func(path string) float64 {
				a.show(b, scene{path: path})
				return ask(b, a.browser, chromedp.Evaluate[float64](`new Promise(done => new PerformanceObserver(list => {
					for (const e of list.getEntriesByName("first-contentful-paint")) done(e.startTime);
				}).observe({type: "paint", buffered: true}))`, chromedp.EvalAwaitPromise))
			}
			var full, empty []float64
			for b.Loop() {
				full, empty = append(full, paint("/tokens")), append(empty, paint("/tokens?role=admin"))
			}
			slices.Sort(full)
			slices.Sort(empty)
			middle := len(full) / 2
			b.ReportMetric(full[middle], "full-p50-ms")
			b.ReportMetric(empty[middle], "empty-p50-ms")
			b.ReportMetric(full[middle]/empty[middle], "paint-ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}
