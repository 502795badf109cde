package mapstore

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/stored"
)

const maxInMemory = 100_000 // events of a store without a home

// entry is one numbered event and its line.
type entry struct {
	event authority.Event
	line  text // empty without a file
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
	end := l.last
	out := make([]entry, 0, len(events))
	for _, e := range events {
		next, err := l.entry(e.ChainAfter(end.Seq, end.Hash))
		if err != nil {
			return nil, err
		}
		out, end = append(out, next), place{next.event.Seq, next.event.Hash}
	}
	return out, nil
}

func (l *ledger) entry(e authority.Event) (entry, error) {
	if l.log == nil {
		return entry{event: e}, nil
	}
	line, err := stored.Events().Encode(e)
	if err != nil {
		return entry{}, fmt.Errorf("encode an event: %w", err)
	}
	return entry{e, textOf(line)}, nil
}

// ready moves what the last attempt left behind, or tells why no change can
// begin: a log that cannot be written ends all changes. Only the events of the
// change that met the problem first wait, in the file that it changed.
func (l *ledger) ready() error {
	if l.problem == nil || l.move() == nil {
		return nil
	}
	err := fmt.Errorf("the audit log cannot be written: %v", l.problem) //nolint:errorlint // what is unknown about the log is known about this change
	for _, kind := range []error{durable.ErrFull, durable.ErrReadOnly} {
		if errors.Is(l.problem, kind) {
			err = fmt.Errorf("%w: %w", kind, err)
		}
	}
	return err
}

// waiting answers the events that a file written now must hold.
func (l *ledger) waiting(more []entry) []entry { return slices.Concat(l.entries, more) }

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
		lines[i] = e.line.bytes
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
	t := trail{last: l.last, first: l.first, entries: l.entries}
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

// tail checks the chain of the last events in the file and answers their
// places, newest first.
func (l *ledger) tail() ([]place, error) {
	var places []place
	var after authority.Event
	linked := func(e authority.Event, before place) error {
		if !follows(e, before) {
			return fmt.Errorf("event %d does not follow event %d", e.Seq, before.Seq)
		}
		return nil
	}
	for e, err := range l.trail().backwards(0) {
		at := place{e.Seq, e.Hash}
		switch {
		case err != nil:
			return nil, err
		case len(places) > 0:
			err = linked(after, at)
		}
		if err == nil && e.Seq == 1 {
			err = linked(e, place{})
		}
		if err != nil {
			return nil, err
		}
		after, places = e, append(places, at)
		if len(places) > tailLength {
			break
		}
	}
	return places, nil
}

// adopt takes the pending events of files that were opened. Those that are in
// the log are dropped, those that belong behind it follow, and those of another
// log, which a file that was moved here brings along, are numbered anew. More
// events follow.
func (l *ledger) adopt(pending []authority.Event, more ...authority.Event) ([]entry, error) {
	if len(pending) == 0 {
		return l.chain(more)
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
	return l.chain(append(fresh, more...))
}

// resume goes on in an empty log behind head, whose file may hold the events up
// to there: those keep their numbers.
func (l *ledger) resume(head place, pending []authority.Event) error {
	entries := make([]entry, 0, len(pending))
	for _, e := range pending {
		kept, err := l.entry(e)
		if err != nil {
			return err
		}
		entries = append(entries, kept)
	}
	l.add(entries)
	l.last = head
	return nil
}
