package webui

import (
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/message"
)

// stretches are the times that the requests of a token are shown for.
func stretches() []stretch {
	return []stretch{{"24h", say("24 h"), hours24(), 24, time.Hour}, {"14d", say("14 d"), spell(14 * day), 56, 6 * time.Hour}, {"90d", say("90 d"), spell(90 * day), authority.UsageDays, day}}
}

type stretch struct {
	Value        string
	Label, Words message.Text
	bars         int
	width        time.Duration
}

// usage is the requests with one token, as its page shows them.
type usage struct {
	authority.TokenUsage
	Stretches         []stretch
	Stretch           stretch // the one that is shown
	Requests, Refused uint64  // in that time
	Ever              bool    // any request is known
	Masked            bool    // addresses are shortened
	Chart             chart
	keys              map[authority.KeyID]string
}

// KeyName is what the key of a source is called.
func (u usage) KeyName(id authority.KeyID) string {
	if name := u.keys[id]; name != "" {
		return name
	}
	return "–"
}

// Sentence comes before the chart.
func (u usage) Sentence() message.Text {
	if u.Requests == 0 {
		return say("No request in {time}.", "time", u.Stretch.Words)
	}
	if u.Refused == 0 {
		return say("{n, plural, one {# request} other {# requests}} in {time}, none refused.", "n", u.Requests, "time", u.Stretch.Words)
	}
	return say("{n, plural, one {# request} other {# requests}} in {time}, {refused} refused.", "n", u.Requests, "time", u.Stretch.Words, "refused", u.Refused)
}

// count takes a number that may not be known.
func count(n any) uint64 {
	switch n := n.(type) {
	case uint64:
		return n
	case int:
		return uint64(max(n, 0))
	case *uint64:
		if n != nil {
			return *n
		}
	}
	return 0
}

// kept says how far counts of use can be relied upon.
type kept struct {
	authority.LedgerState
	Since time.Time
}

func (w *console) kept() kept { return kept{w.Authority.UsageState(), w.Authority.Usage.Since()} }

// unknownBefore is since when a token's use is known; zero when that is since it
// was made.
func (w *console) unknownBefore(t authority.TokenView) time.Time {
	if since := w.Authority.Usage.Since(); since.Truncate(time.Second).After(t.CreatedAt) {
		return since
	}
	return time.Time{}
}

// share is how much of a token's use is still under the previous key, or "" when
// that is not known: of mixed use a part, else how much there is in a day.
func share(t authority.TokenEvidence) message.Text {
	under, all := t.Rotation.Under, t.Rotation.Under+t.Rotation.Since
	switch {
	case t.Movement == authority.Mixed && under > 0:
		return say("{n} %", "n", min(99, max(1, (100*under+all/2)/all))) // neither none nor all of it
	case t.Movement == authority.NotMoved && t.Day.Under > 0:
		return say("{n}/day", "n", t.Day.Under)
	}
	return nil
}

// usageOf arranges what is known of a token's use for one of the stretches; an
// unknown one is 14 days.
func usageOf(known authority.TokenUsage, asked string, keys []authority.Key) usage {
	u := usage{TokenUsage: known, Stretches: stretches(), keys: make(map[authority.KeyID]string)}
	u.Stretch = u.Stretches[1]
	for _, s := range u.Stretches {
		if s.Value == asked {
			u.Stretch = s
		}
	}
	for _, k := range keys {
		u.keys[k.ID] = k.Name
	}
	for _, s := range known.Sources {
		u.Masked = u.Masked || strings.Contains(s.From, "/")
	}
	spans := known.Hours
	if u.Stretch.width >= day {
		spans = known.Days
	}
	bars := gather(spans, u.Stretch)
	for _, b := range bars {
		u.Requests += b.Current + b.Previous + b.Refused
		u.Refused += b.Refused
	}
	u.Ever = u.Requests > 0 || len(known.Sources) > 0 || len(known.Refusals) > 0
	u.Chart = newChart(bars, u.Stretch.width)
	return u
}

// gather adds neighbouring spans up to bars of the stretch's width, which begin
// at whole multiples of it (UTC).
func gather(spans []authority.UsageSpan, s stretch) []authority.UsageSpan {
	var bars []authority.UsageSpan
	for _, span := range spans {
		start := span.Start.Truncate(s.width)
		if n := len(bars); n == 0 || !bars[n-1].Start.Equal(start) {
			bars = append(bars, authority.UsageSpan{Start: start})
		}
		b := &bars[len(bars)-1]
		b.Current, b.Previous, b.Refused = b.Current+span.Current, b.Previous+span.Previous, b.Refused+span.Refused
	}
	return bars[max(0, len(bars)-s.bars):]
}

// reason says the name of a verdict's reason in words.
func reason(name string) message.Text { return message.Told(strings.ReplaceAll(name, "_", " ")) }
