package main

import (
	"context"
	"strconv"
	"time"

	"mintmark/api"
)

// showUsage prints how a token was used: the last day by the hour, where the
// requests came from, and why others were refused.
func (c *cli) showUsage(ctx context.Context, l *link, name string) error {
	t, err := l.FindToken(ctx, name, false)
	if err != nil {
		if t, err = c.amongDeleted(ctx, l, name, err); err != nil {
			return err
		}
	}
	u, err := l.TokenUsage(ctx, t.ID)
	if err != nil {
		return err
	}
	if c.asJSON() {
		return c.one("TokenUsage", u, nil)
	}
	saved := "not saved yet"
	if u.SavedAt != nil {
		saved = "saved " + c.when(u.SavedAt, "never")
	}
	c.note("%s of %s (as of %s; counted since %s, %s).", shortID(t.ID), t.ClientID, c.asOf(u.AsOf), c.until(u.CountedSince), saved)
	if len(u.Sources) == 0 {
		c.say("No request has used it since.")
		return nil
	}
	return c.printUsage(u)
}

func (c *cli) printUsage(u api.TokenUsage) error {
	var day []api.UsageSpan
	for _, h := range u.Hours {
		if u.AsOf.Sub(h.Start) < 24*time.Hour {
			day = append(day, h)
		}
	}
	count := func(of func(api.UsageSpan) uint64) func(api.UsageSpan) string {
		return func(s api.UsageSpan) string { return strconv.FormatUint(of(s), 10) }
	}
	err := printList(c, "", day, []column[api.UsageSpan]{
		{name: "HOUR", of: func(s api.UsageSpan) string { return s.Start.UTC().Format("2006-01-02T15:04Z") }},
		{name: "CURRENT SECRET", of: count(func(s api.UsageSpan) uint64 { return s.Current })},
		{name: "EARLIER SECRET", of: count(func(s api.UsageSpan) uint64 { return s.Previous })},
		{name: "REFUSED", of: count(func(s api.UsageSpan) uint64 { return s.Refused })},
	}, nil)
	if err != nil {
		return err
	}
	err = printList(c, "", u.Sources, []column[api.UsageSource]{
		{name: "FROM", of: func(s api.UsageSource) string { return orText(s.From, "all others") }},
		{name: "VIA", of: func(s api.UsageSource) string { return orDash(s.Via) }, spare: 2},
		{name: "FIRST", of: func(s api.UsageSource) string { return c.when(&s.First, "–") }, spare: 1},
		{name: "LAST", of: func(s api.UsageSource) string { return c.when(&s.Last, "–") }},
		{name: "ALLOWED", of: func(s api.UsageSource) string { return strconv.FormatUint(s.Allowed, 10) }},
		{name: "REFUSED", of: func(s api.UsageSource) string { return strconv.FormatUint(s.Refused, 10) }},
	}, nil)
	if err != nil || len(u.Refusals) == 0 {
		return err
	}
	return printList(c, "", u.Refusals, []column[api.UsageRefusal]{
		{name: "REFUSED FOR", of: func(r api.UsageRefusal) string { return r.Reason }},
		{name: "LAST", of: func(r api.UsageRefusal) string { return c.when(&r.Last, "–") }},
		{name: "LAST FROM", of: func(r api.UsageRefusal) string { return orText(r.From, "all others") }},
		{name: "COUNT", of: func(r api.UsageRefusal) string { return strconv.FormatUint(r.Count, 10) }},
	}, nil)
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// requestsWord is how often a token was used in a day.
func requestsWord(t api.Token) string {
	if t.Requests24h == nil {
		return "–"
	}
	return strconv.FormatUint(*t.Requests24h, 10)
}

// movedWord says how much of a mixed client has not moved.
func movedWord(t api.TokenEvidence) string {
	word := stateWord(t.State)
	if d := t.Requests24h; t.State == "mixed" && d != nil && d.Under+d.Current > 0 {
		word += " " + strconv.FormatUint((100*d.Under+(d.Under+d.Current)/2)/(d.Under+d.Current), 10) + "%"
	}
	return word
}
