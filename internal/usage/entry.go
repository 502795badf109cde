package usage

import (
	"cmp"
	"slices"
	"time"

	"mintmark/internal/authority"
)

// entry is what was counted of one token, in rows without pointers but for names
// that all share.
type entry struct {
	keys     []keyRow
	hours    []spanRow
	days     []spanRow
	sources  []sourceRow
	refusals []refusalRow
}

type keyRow struct {
	first, last uint32
	key         uint16
	from        address
}

type spanRow struct {
	start            uint32 // hours or days since 1970
	key              uint16
	allowed, refused uint64
}

type sourceRow struct {
	place
	key              uint16 // of the last allowed use; 0: none
	first, last      uint32
	allowed, refused uint64
}

type refusalRow struct {
	reason      string
	from        address
	first, last uint32
	count       uint64
}

const (
	hour       = 3600 // seconds
	hoursInDay = 24
	day        = hoursInDay * hour
)

// rows is how many the entry has.
func (e *entry) rows() int {
	return len(e.keys) + len(e.hours) + len(e.days) + len(e.sources) + len(e.refusals)
}

// use is some verdicts of one kind as an entry takes them.
type use struct {
	place
	key         uint16
	refused     string
	first, last uint32
	count       uint64
}

// add counts verdicts.
func (e *entry) add(u use) {
	allowed, refused := u.count, uint64(0)
	if u.refused != "" {
		allowed, refused = 0, u.count
		e.addRefusal(refusalRow{u.refused, u.from, u.first, u.last, u.count})
	} else {
		e.addKey(keyRow{u.first, u.last, u.key, u.from})
	}
	addSpan(&e.hours, spanRow{u.last / hour, u.key, allowed, refused})
	e.addSource(sourceRow{u.place, u.key, u.first, u.last, allowed, refused})
}

// find answers the row that is the one, or a new one.
func find[T any](rows *[]T, is func(*T) bool) (row *T, known bool) {
	for i := range *rows {
		if is(&(*rows)[i]) {
			return &(*rows)[i], true
		}
	}
	n := len(*rows)
	if n == cap(*rows) { // most tokens have few rows: append would make room for as many again
		*rows = append(make([]T, 0, n+1+n/8), *rows...)
	}
	*rows = (*rows)[:n+1]
	return &(*rows)[n], false
}

func (e *entry) addKey(k keyRow) {
	row, known := find(&e.keys, func(r *keyRow) bool { return r.key == k.key })
	if !known {
		*row = k
		return
	}
	if k.last >= row.last {
		row.from = k.from
	}
	row.first, row.last = min(row.first, k.first), max(row.last, k.last)
}

func addSpan(spans *[]spanRow, s spanRow) {
	row, known := find(spans, func(r *spanRow) bool { return r.start == s.start && r.key == s.key })
	if !known {
		*row = s
		return
	}
	row.allowed += s.allowed
	row.refused += s.refused
}

func (e *entry) addRefusal(f refusalRow) {
	row, known := find(&e.refusals, func(r *refusalRow) bool { return r.reason == f.reason })
	if !known {
		*row = f
		return
	}
	if f.last >= row.last {
		row.from = f.from
	}
	row.first, row.last, row.count = min(row.first, f.first), max(row.last, f.last), row.count+f.count
}

// addSource keeps the sources that were seen last, and the sum of the others.
func (e *entry) addSource(s sourceRow) {
	if s.allowed == 0 {
		s.key = 0
	}
	row, known := find(&e.sources, func(r *sourceRow) bool { return r.place == s.place })
	if known {
		row.take(s)
		return
	}
	*row = s
	if s.from == others() || e.toldApart() <= authority.MaxSources {
		return
	}
	oldest := -1
	for i := range e.sources {
		if e.sources[i].from != others() && (oldest < 0 || e.sources[i].last < e.sources[oldest].last) {
			oldest = i
		}
	}
	gone := e.sources[oldest]
	e.sources = slices.Delete(e.sources, oldest, oldest+1)
	gone.place = place{from: others()}
	e.addSource(gone)
}

func (e *entry) toldApart() int {
	n := len(e.sources)
	if slices.ContainsFunc(e.sources, func(r sourceRow) bool { return r.from == others() }) {
		n--
	}
	return n
}

// take adds what was counted of the same source.
func (r *sourceRow) take(s sourceRow) {
	if s.key != 0 && (r.key == 0 || s.last >= r.last) {
		r.key = s.key
	}
	r.first, r.last = min(r.first, s.first), max(r.last, s.last)
	r.allowed += s.allowed
	r.refused += s.refused
}

// merge adds all of another entry.
func (e *entry) merge(o *entry) {
	for _, k := range o.keys {
		e.addKey(k)
	}
	for _, s := range o.hours {
		addSpan(&e.hours, s)
	}
	for _, s := range o.days {
		addSpan(&e.days, s)
	}
	for _, s := range o.sources {
		e.addSource(s)
	}
	for _, r := range o.refusals {
		e.addRefusal(r)
	}
}

// prune is authority.UsageStore's, for one that keeps so many hours.
func (e *entry) prune(now time.Time, hours int) {
	firstDay := uint32(now.Unix()/day) - uint32(hours/hoursInDay)
	e.hours = slices.DeleteFunc(e.hours, func(s spanRow) bool {
		old := s.start/hoursInDay < firstDay
		if old {
			s.start /= hoursInDay
			addSpan(&e.days, s)
		}
		return old
	})
	horizon := uint32(now.Unix()) - authority.UsageDays*day
	e.days = slices.DeleteFunc(e.days, func(s spanRow) bool { return s.start < horizon/day })
	e.keys = slices.DeleteFunc(e.keys, func(k keyRow) bool { return k.last < horizon })
	e.sources = slices.DeleteFunc(e.sources, func(s sourceRow) bool { return s.last < horizon })
	e.refusals = slices.DeleteFunc(e.refusals, func(r refusalRow) bool { return r.last < horizon })
}

func at(seconds uint32) time.Time { return time.Unix(int64(seconds), 0).UTC() }

// record is the entry as others know it.
func (e *entry) record(id authority.TokenID, keys *names) authority.UsageRecord {
	r := authority.UsageRecord{Token: id}
	for _, k := range e.keys {
		r.Keys = append(r.Keys, authority.KeyUse{Key: keys.name(k.key), First: at(k.first), Last: at(k.last), From: k.from.text()})
	}
	for _, s := range e.hours {
		r.Hours = append(r.Hours, authority.UsageCount{Start: at(s.start * hour), Key: keys.name(s.key), Allowed: s.allowed, Refused: s.refused})
	}
	for _, s := range e.days {
		r.Days = append(r.Days, authority.UsageCount{Start: at(s.start * day), Key: keys.name(s.key), Allowed: s.allowed, Refused: s.refused})
	}
	for _, s := range e.sources {
		r.Sources = append(r.Sources, authority.UsageSource{
			From: s.from.text(), Via: s.viaText(), Key: keys.name(s.key), First: at(s.first), Last: at(s.last), Allowed: s.allowed, Refused: s.refused,
		})
	}
	for _, f := range e.refusals {
		r.Refusals = append(r.Refusals, authority.UsageRefusal{Reason: f.reason, From: f.from.text(), First: at(f.first), Last: at(f.last), Count: f.count})
	}
	slices.SortFunc(r.Sources, func(a, b authority.UsageSource) int {
		if a.From == "" || b.From == "" {
			return -cmp.Compare(a.From, b.From) // the rest is last
		}
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.From, b.From), cmp.Compare(a.Via, b.Via))
	})
	slices.SortFunc(r.Refusals, func(a, b authority.UsageRefusal) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Reason, b.Reason))
	})
	return r
}

func seconds(t time.Time) uint32 { return uint32(t.Unix()) }

// load adds what is stored.
func (e *entry) load(r authority.UsageRecord, keys *names) {
	for _, k := range r.Keys {
		e.addKey(keyRow{seconds(k.First), seconds(k.Last), keys.number(k.Key), readAddress(k.From)})
	}
	for _, s := range r.Hours {
		addSpan(&e.hours, spanRow{seconds(s.Start) / hour, keys.number(s.Key), s.Allowed, s.Refused})
	}
	for _, s := range r.Days {
		addSpan(&e.days, spanRow{seconds(s.Start) / day, keys.number(s.Key), s.Allowed, s.Refused})
	}
	for _, s := range r.Sources {
		e.addSource(sourceRow{placeOf(s.From, s.Via), keys.number(s.Key), seconds(s.First), seconds(s.Last), s.Allowed, s.Refused})
	}
	for _, f := range r.Refusals {
		e.addRefusal(refusalRow{f.Reason, readAddress(f.From), seconds(f.First), seconds(f.Last), f.Count})
	}
}
