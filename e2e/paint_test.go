package e2e

import (
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestAListPaintsAboutAsSoonAsAnEmptyPage measures the two in turn, so that what
// else the machine does slows both.
func TestAListPaintsAboutAsSoonAsAnEmptyPage(t *testing.T) {
	for name, n := range map[string]int{"50 tokens": 50, "100,000 tokens": 100_000} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, true)
			s.extras(t, n)
			a := newSitter(t, s, "")
			paint := func(path string) float64 {
				a.show(t, scene{path: path})
				return ask(t, a.browser, chromedp.Evaluate[float64](`new Promise(done => new PerformanceObserver(list => {
					for (const e of list.getEntriesByName("first-contentful-paint")) done(e.startTime);
				}).observe({type: "paint", buffered: true}))`, chromedp.EvalAwaitPromise))
			}
			var full, empty []float64
			for range 9 {
				full, empty = append(full, paint("/tokens")), append(empty, paint("/tokens?role=admin"))
			}
			slices.Sort(full)
			slices.Sort(empty)
			ratio := full[4] / empty[4]
			t.Logf("first contentful paint: %.0f ms with 50 rows, %.0f ms with none: %.2f times", full[4], empty[4], ratio)
			if ratio > 1.5 {
				t.Errorf("a list of 50 rows paints %.2f times as late as an empty one", ratio)
			}
		})
	}
}
