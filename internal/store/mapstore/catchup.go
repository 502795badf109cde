package mapstore

import (
	"fmt"
	"slices"
	"strings"

	"mintmark/internal/authority"
)

// since answers what was done to tokens behind a place of the log, oldest first,
// and whether that place is one of this log's. The way there is checked.
func (t trail) since(at place) (events []authority.Event, own bool, err error) {
	if at == t.last || at.Seq >= t.last.Seq {
		return nil, at == t.last, nil
	}
	for e, err := range t.backwards(at.Seq + 2) { // the one behind it, if it is there
		if err != nil {
			return nil, false, err
		}
		own = follows(e, at)
		break
	}
	if !own {
		return nil, false, nil
	}
	var after authority.Event
	for e, err := range t.backwards(0) {
		if err == nil && after.Seq > 0 && !follows(after, place{e.Seq, e.Hash}) {
			err = fmt.Errorf("event %d does not follow event %d", after.Seq, e.Seq)
		}
		if err != nil {
			return nil, false, err
		}
		if strings.HasPrefix(e.Action, "token.") {
			events = append(events, e)
		}
		if after = e; e.Seq == at.Seq+1 {
			break
		}
	}
	slices.Reverse(events)
	return events, true, nil
}

// follows reports whether e is the event behind a place.
func follows(e authority.Event, at place) bool {
	want := e.ChainAfter(at.Seq, at.Hash)
	return want.Seq == e.Seq && want.Hash == e.Hash
}

// catchUp brings the records of a token file up to the audit log: what ended
// since the file was written has ended. A file that the log does not lead to is
// another home's, whose tokens no key here has signed; when it is this home's
// all the same, or a copy's, nobody knows what has ended and it is refused.
// renewed says that somebody has just begun an empty log.
func (s *Store) catchUp(t *taken, st state, log trail, renewed bool) error {
	head := t.content.header.Head
	if head == (place{}) && t.content.state.tokens.size == 0 {
		return nil
	}
	events, own, err := log.since(head)
	switch {
	case err != nil:
		return s.badLog(err)
	case own:
		rows := &tx{state: t.content.state, edit: new(edit), codecs: codecsOf(s.state, t.file)}
		t.own = true
		t.caught, err = authority.CatchUp(rows.Tokens(), events)
		t.content.state = rows.state
		return err
	case !t.revives(st):
		return nil
	case renewed && !t.unknown:
		t.caught.Unproven = true
		return nil
	}
	return fmt.Errorf("%s was written after event %d, to which %s does not lead back: which of its tokens have ended since is not known; "+
		"it was left as it is: restore a newer one, or the audit log, from a backup, or name another file", t.file.path, head.Seq, s.logPath())
}

// revives reports whether a file that the log does not lead to could bring back
// what has ended: it is one that this home has used, or holds a token that a key
// of this home signed, and has tokens that no reset has ended.
func (t *taken) revives(st state) bool {
	generation, ours, left := st.generation(), !t.unknown, false
	for w := range t.content.state.tokens.all() {
		if w.value.Generation == generation && !w.value.Leaked {
			left = true
			ours = ours || st.keys.get(w.value.KeyID) != nil
		}
	}
	return ours && left
}

// takeOver makes what a token file holds the tokens of a store that opens. A
// file that was behind, or another home's, is written with where it stands now,
// together with the event about it, unless it is arriving.
func (s *Store) takeOver(t *taken, renewed, arriving bool) error {
	if err := s.catchUp(t, s.newest, s.ledger.trail(), renewed); err != nil {
		return err
	}
	s.newest.tokens, s.newest.receipts = t.content.state.tokens, t.content.state.receipts
	s.opened = t.opened
	s.opened.CaughtUp = t.caught
	if !t.caught.Any() && (t.own || t.content.state.tokens.size == 0) {
		return nil
	}
	var events []authority.Event
	if t.caught.Any() && !arriving {
		events = append(events, t.caught.Event(s.now(), t.file.path))
	}
	entries, err := s.ledger.chain(events)
	if err != nil {
		return err
	}
	text, err := s.writer.compose(t.file, &s.newest, s.ledger.head(entries), s.ledger.waiting(entries))
	if err == nil {
		err = t.file.save(s.files, text)
	}
	if err != nil {
		return fmt.Errorf("bring the token file up to the audit log: %w", err)
	}
	s.ledger.add(entries)
	return nil
}
