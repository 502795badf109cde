package webui

import (
	"fmt"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/message"
)

// The bars of a row are 96 units wide, with their gaps, and 20 high.
const (
	recentHeight = 20
	recentStep   = 7
	recentBar    = 5
)

// recent is the requests with one token by day, as its row shows them.
type recent struct {
	days  authority.RecentRequests
	first time.Time
}

// Bars are one path: drawn with strokes as wide as a bar: a day without requests
// is a dot, a day with few can be told from it.
func (r *recent) Bars() string {
	_, most := r.most()
	last := uint64(0)
	var b strings.Builder
	for i, n := range r.days {
		height := uint64(1)
		if n > 0 {
			height = max(3, (n*recentHeight+most/2)/most)
		}
		if i == 0 {
			fmt.Fprintf(&b, "M%g %d", float64(recentBar)/2, recentHeight)
		} else {
			fmt.Fprintf(&b, "m%d %d", recentStep, last)
		}
		fmt.Fprintf(&b, "v-%d", height)
		last = height
	}
	return b.String()
}

func (r *recent) most() (day int, n uint64) {
	for i, of := range r.days {
		if of > n {
			day, n = i, of
		}
	}
	return day, n
}

// Total is all of them.
func (r *recent) Total() uint64 {
	total := uint64(0)
	for _, n := range r.days {
		total += n
	}
	return total
}

// Words are the bars for whoever does not see them.
func (r *recent) Words() message.Text {
	day, most := r.most()
	if most == 0 {
		return say("No request in {days} days", "days", len(r.days))
	}
	return say("{n, plural, one {# request} other {# requests}} in {days} days, most on {day}: {most}", "n", r.Total(), "days", len(r.days), "day", dayOfMonth(r.first.AddDate(0, 0, day)), "most", most)
}
