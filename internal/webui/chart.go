package webui

import (
	"fmt"
	"time"
)

// span is a stretch of time with today in it, as the line of an overlap shows it.
type span struct {
	From, To  time.Time
	Gone      int    // of the way, in per cent
	Anchor    string // of the word at today's mark, so that it stays inside
	Left      string // how much is left, in words
	Day, Days int
}

func overlapSpan(from, to, now time.Time) span {
	s := span{From: from, To: to, Anchor: "middle", Left: "over"}
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
	if left := to.Sub(now); left > 0 {
		s.Left = spell(left+slack(left)) + " left"
	}
	s.Day, s.Days = int(now.Sub(from)/day)+1, int((to.Sub(from)+day-1)/day)
	return s
}

// Text is the line in words.
func (s span) Text() string {
	return fmt.Sprintf("The overlap goes from %s to %s; %s.", s.From.UTC().Format("2 Jan 2006"), s.To.UTC().Format("2 Jan 2006"), s.Left)
}
