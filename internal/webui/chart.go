package webui

import (
	"math"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/message"
)

// span is a stretch of time with today in it, as the line of an overlap shows it.
type span struct {
	From, To  time.Time
	Gone      int          // of the way, in per cent
	Anchor    string       // of the word at today's mark, so that it stays inside
	Left      message.Text // how much is left
	Day, Days int
}

func overlapSpan(from, to, now time.Time) span {
	s := span{From: from, To: to, Anchor: "middle", Left: left(to.Sub(now))}
	if whole := to.Sub(from); whole > 0 {
		s.Gone = int(100 * now.Sub(from) / whole)
	}
	s.Gone = max(0, min(100, s.Gone))
	switch {
	case s.Gone < 10:
		s.Anchor = "start"
	case s.Gone > 90:
		s.Anchor = "end"
	}
	s.Day, s.Days = int(now.Sub(from)/day)+1, int((to.Sub(from)+day-1)/day)
	return s
}

// Text is the line in words.
func (s span) Text() message.Text {
	return say("The overlap goes from {from} to {to}; {left}.", "from", date(s.From), "to", date(s.To), "left", s.Left)
}

// The chart of requests is 640 units wide and as high as it is on the page, so
// that only its width is stretched.
const (
	chartWidth  = 640
	chartHeight = 120
)

// chart is stacked bars of requests over time.
type chart struct {
	Bars    []part
	Top     uint64 // the highest tick; the others are half of it and 0
	Rows    []authority.UsageSpan
	From    time.Time
	To      time.Time
	ByDay   bool
	Refused bool // any bar has a part of that kind
	Earlier bool
}

// part is a rectangle of a bar; Kind is what it stands for: "current", "previous"
// or "refused".
type part struct {
	Kind       string
	X, Y, W, H float64
}

// Half is the tick in the middle.
func (c chart) Half() uint64 { return c.Top / 2 }

func newChart(bars []authority.UsageSpan, width time.Duration) chart {
	c := chart{ByDay: width >= day}
	if len(bars) == 0 {
		return c
	}
	c.From, c.To = bars[0].Start, bars[len(bars)-1].Start.Add(width)
	most := uint64(0)
	for _, b := range bars {
		most = max(most, b.Current+b.Previous+b.Refused)
	}
	c.Top = niceTop(most)
	step := float64(chartWidth) / float64(len(bars))
	for i, b := range bars {
		if b.Current+b.Previous+b.Refused == 0 {
			continue
		}
		c.Rows = append(c.Rows, b)
		c.Refused, c.Earlier = c.Refused || b.Refused > 0, c.Earlier || b.Previous > 0
		y := float64(chartHeight)
		for _, p := range []struct {
			kind  string
			count uint64
		}{{"current", b.Current}, {"previous", b.Previous}, {"refused", b.Refused}} {
			if p.count == 0 {
				continue
			}
			// However few, they can be seen; a gap parts them from those below.
			h := max(2, float64(chartHeight)*float64(p.count)/float64(c.Top))
			y -= h
			c.Bars = append(c.Bars, part{p.kind, round(float64(i)*step + step*.1), round(y), round(step * .8), round(max(1, h-1))})
		}
	}
	return c
}

// niceTop is the first of 2, 4, 10, 20, 40, 100, … that is no less.
func niceTop(n uint64) uint64 {
	for unit := uint64(1); ; unit *= 10 {
		for _, top := range []uint64{2 * unit, 4 * unit, 10 * unit} {
			if n <= top {
				return top
			}
		}
	}
}

func round(f float64) float64 { return math.Round(f*10) / 10 }
