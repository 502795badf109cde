package mapstore

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
)

const (
	maxPending  = 10_000  // events that wait for audit.ndjson
	maxInMemory = 100_000 // events of a store without a home
)

// entry is one numbered event and its line.
type entry struct {
	event authority.Event
	line  []byte
}

// ledger is the audit log: the file, what has not moved there yet, and the end
// of the chain. Without a file the newest events are kept in memory.
type ledger struct {
	log     *durable.Log // nil: in memory
	first   uint64       // number of the oldest event in the file; 0: it is empty
	last    place
	entries []entry // without a file: all; with one: those that wait for it
	problem error   // of the last attempt to move them
}

// chain numbers events behind the end of the log and changes nothing.
func (l *ledger) chain(events []authority.Event) ([]entry, error) {
	c := eventCodec()
	end := l.last
	out := make([]entry, 0, len(events))
	for _, e := range events {
		e = e.ChainAfter(end.Seq, end.Hash)
		end = place{e.Seq, e.Hash}
		var line []byte
		if l.log != nil {
			var err error
			if line, err = c.encode(e); err != nil {
				return nil, fmt.Errorf("encode an event: %w", err)
			}
		}
		out = append(out, entry{e, line})
	}
	return out, nil
}

// waiting answers the events that a file written now must hold, or why there
// is no room for more.
func (l *ledger) waiting(more []entry) ([]entry, error) {
	if len(l.entries)+len(more) > maxPending && l.problem != nil {
		err := fmt.Errorf("%d audit events wait for their log: %v", len(l.entries), l.problem) //nolint:errorlint // what is unknown about the log is known about this change
		if errors.Is(l.problem, durable.ErrFull) {
			err = fmt.Errorf("%w: %w", durable.ErrFull, err)
		}
		return nil, err
	}
	return slices.Concat(l.entries, more), nil
}

// add takes events that are durable elsewhere, or need not be.
func (l *ledger) add(entries []entry) {
	if len(entries) == 0 {
		return
	}
	e := entries[len(entries)-1].event
	l.last = place{e.Seq, e.Hash}
	// Trails share the array: it is only ever appended to, or left behind.
	l.entries = append(l.entries, entries...)
	if l.log == nil && len(l.entries) >= 2*maxInMemory {
		l.entries = slices.Clone(l.entries[len(l.entries)-maxInMemory:])
	}
}

// move appends what waits to the file. What it cannot append goes on waiting.
func (l *ledger) move() error { return l.write(nil) }

// write appends what waits and more to the file, durably, or nothing.
func (l *ledger) write(more []entry) error {
	if l.log == nil {
		l.add(more)
		return nil
	}
	all := slices.Concat(l.entries, more)
	if len(all) == 0 {
		return nil
	}
	lines := make([][]byte, len(all))
	for i, e := range all {
		lines[i] = e.line
	}
	if l.problem = l.log.Append(lines...); l.problem != nil {
		return l.problem
	}
	l.add(more)
	l.entries = nil
	if l.first == 0 {
		l.first = all[0].event.Seq
	}
	return nil
}

func (l *ledger) trail() trail {
	t := trail{last: l.last.Seq, first: l.first, entries: l.entries}
	if l.log == nil && len(t.entries) > maxInMemory {
		t.entries = t.entries[len(t.entries)-maxInMemory:]
	}
	if l.log != nil {
		t.log, t.size = l.log, l.log.Size()
	}
	if t.first == 0 && len(t.entries) > 0 || l.log == nil && len(t.entries) > 0 {
		t.first = t.entries[0].event.Seq
	}
	return t
}

// adopt takes the pending events of a file that was opened. Those that are in
// the log are dropped, those that belong behind it follow, and those of another
// log, which a file that was moved here brings along, are numbered anew.
func (l *ledger) adopt(pending []authority.Event) ([]entry, error) {
	if len(pending) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(pending, func(a, b authority.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	known := make(map[place]bool)
	for e, err := range l.trail().backwards(0) {
		if err != nil {
			return nil, err
		}
		if e.Seq < pending[0].Seq {
			break
		}
		known[place{e.Seq, e.Hash}] = true
	}
	var fresh []authority.Event
	for _, e := range pending {
		if at := (place{e.Seq, e.Hash}); !known[at] {
			known[at] = true
			fresh = append(fresh, e)
		}
	}
	if l.last == (place{}) && len(fresh) > 0 && fresh[0].Seq > 0 {
		// An empty log goes on where the file ends: the numbers stay.
		return l.continued(fresh)
	}
	return l.chain(fresh)
}

// continued keeps the events as they are, for a log that lost its beginning.
func (l *ledger) continued(events []authority.Event) ([]entry, error) {
	c := eventCodec()
	out := make([]entry, 0, len(events))
	for i, e := range events {
		if i > 0 {
			e = e.ChainAfter(events[i-1].Seq, events[i-1].Hash)
			events[i] = e
		}
		line, err := c.encode(e)
		if err != nil {
			return nil, fmt.Errorf("encode an event: %w", err)
		}
		out = append(out, entry{e, line})
	}
	return out, nil
}
