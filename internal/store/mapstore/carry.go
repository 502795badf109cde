package mapstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/stored"
)

// Carried counts what a switch to another token file finds and does. Of tokens it
// counts those that are active.
type Carried struct {
	Existing int // were in the file already
	Carried  int // came along from the store before
	CaughtUp authority.CaughtUp
}

// SwitchTokens makes another token file, or memory when path is "", the place
// where tokens last, and carries every token and receipt along beside those
// that are there. Updates wait; each that was acknowledged before is in the new
// file, each after goes there. A file that this home has used before is brought
// up to the audit log first, and a token that is in both goes on as it is here.
// An id that is in both otherwise is refused. The file before stays as it is.
// commit is called once the tokens last in the new file and before anything uses
// it: the place to note where they are; its error undoes the switch. After an
// error nothing has changed, but that an empty file may have become an empty
// store.
func (s *Store) SwitchTokens(ctx context.Context, path string, commit func() error) (Carried, error) {
	if path != "" && s.state == nil {
		return Carried{}, errNoHome
	}
	s.updates.Lock() // waits for those under way; the others wait
	defer s.updates.Unlock()
	s.turn.Lock()
	defer s.turn.Unlock()
	if err := s.ready(ctx); err != nil {
		return Carried{}, err
	}
	if path == "" {
		return s.toMemory(commit)
	}
	if s.tokens != nil && s.tokens.path == path {
		return Carried{Existing: s.newest.active(s.now())}, commit()
	}
	t, err := s.takeTokens(path)
	if err != nil {
		return Carried{}, unusable(err)
	}
	c, err := s.toFile(t, commit)
	if err != nil {
		return Carried{}, errors.Join(err, t.held.Close())
	}
	return c, nil
}

var errNoHome = errors.New("a token file needs a home: keys, administrators and the audit log must last as long as the tokens")

// CheckTokens answers what SwitchTokens would find and do now, or why it would
// refuse, as far as that can be told without taking the file. It changes
// nothing.
func (s *Store) CheckTokens(path string) (Carried, error) {
	if s.state == nil {
		return Carried{}, errNoHome
	}
	s.updates.RLock() // no switch is under way
	defer s.updates.RUnlock()
	now := s.durable.Load()
	if s.tokens != nil && s.tokens.path == path {
		return Carried{Existing: now.active(s.now())}, nil
	}
	t, err := s.readTokens(path)
	if err != nil {
		return Carried{}, unusable(err)
	}
	m, err := s.merge(t, now.state, now.trail)
	return m.carried, err
}

// unusable tells whoever named a token file why it cannot be one.
func unusable(err error) error {
	return &authority.Error{Kind: authority.Invalid, Code: "store.unusable", Msg: err.Error(), Err: err}
}

func (s *Store) toMemory(commit func() error) (Carried, error) {
	if err := s.ledger.move(); err != nil { // they may be in the file that is left
		return Carried{}, failure(err)
	}
	if err := commit(); err != nil {
		return Carried{}, err
	}
	s.place(nil, nil)
	return Carried{Carried: s.newest.active(s.now())}, nil
}

// toFile writes what both have and switches.
func (s *Store) toFile(t *taken, commit func() error) (Carried, error) {
	m, err := s.merge(t, s.newest, s.ledger.trail())
	if err != nil {
		return Carried{}, err
	}
	if t.unknown {
		if err := s.remember(t.file.path); err != nil {
			return Carried{}, failure(err)
		}
	}
	if err := s.ledger.ready(); err != nil {
		return Carried{}, failure(err)
	}
	var events []authority.Event
	if m.carried.CaughtUp.Any() {
		events = append(events, m.carried.CaughtUp.Event(s.now(), t.file.path))
	}
	entries, err := s.ledger.adopt(t.content.pending, events...)
	if err != nil {
		return Carried{}, failure(err)
	}
	text, err := s.writer.compose(t.file, &m.state, s.ledger.head(entries), s.ledger.waiting(entries))
	if err != nil {
		return Carried{}, err
	}
	if err := s.replace(t.file, text, commit); err != nil {
		return Carried{}, err
	}
	s.ledger.add(entries)
	_ = s.ledger.move() // what stays is in the file, and in ledger.problem
	s.newest = m.state
	s.place(t.file, t.held)
	s.publish(m.state, []authority.Change{{Tokens: m.fresh}})
	return m.carried, nil
}

// replace writes the file that is switched to and commits the switch. When it is
// not known whether the write lasted, and when the commit fails, it puts back
// what was there.
func (s *Store) replace(f *file, text []byte, commit func() error) error {
	before, err := s.files.Read(f.path, maxFile)
	if err != nil {
		return failure(err)
	}
	err = f.save(s.files, text)
	if errors.Is(err, durable.ErrUnknown) {
		if undone := s.files.Write(f.path, before); undone != nil {
			return doubtful(fmt.Errorf("%w; putting back what was there: %w", err, undone))
		}
	}
	if err != nil {
		return failure(err)
	}
	if err := commit(); err != nil {
		if undone := s.files.Write(f.path, before); undone != nil {
			return doubtful(fmt.Errorf("%w; putting back what was there: %w", err, undone))
		}
		return err
	}
	return nil
}

// place makes f the token file, nil for memory, and lets go of the one before.
func (s *Store) place(f *file, held *durable.Held) {
	before := s.held
	s.tokens, s.held = f, held
	s.codecs = codecsOf(s.state, f)
	s.facts.Lock()
	lastWrite := s.fact.LastWrite
	s.fact = factsOf("")
	if f != nil {
		s.fact = factsOf(f.path)
	}
	s.fact.LastWrite = lastWrite
	s.facts.Unlock()
	if before != nil {
		_ = before.Close() // the descriptor is gone, and the lock with it, in any case
	}
}

// merged is what a store and a token file have together.
type merged struct {
	state   state
	fresh   []authority.Changed[authority.TokenID, authority.Token] // tokens that followers do not know
	carried Carried
}

// merge brings a token file up to the log and puts the tokens of st in it.
func (s *Store) merge(t *taken, st state, log trail) (merged, error) {
	if err := s.catchUp(t, st, log, false); err != nil {
		return merged{}, unusable(err)
	}
	m, e := merged{state: st}, new(edit)
	m.state.tokens, m.state.receipts = t.content.state.tokens, t.content.state.receipts
	for w := range t.content.state.tokens.all() {
		here := st.tokens.get(w.value.ID)
		switch {
		case here == nil:
			m.fresh = append(m.fresh, authority.Changed[authority.TokenID, authority.Token]{Key: w.value.ID, Value: &w.value})
		case !t.own || !here.value.SameClaims(&w.value):
			return merged{}, &authority.Error{
				Kind: authority.Conflict, Code: "store.both",
				Msg: fmt.Sprintf("The token %s is in %s too, and is not the same. Name a file that does not hold tokens of this store.", w.value.ID, t.file.path),
			}
		}
	}
	for w := range st.tokens.all() {
		if err := carryRow[authority.TokenID](&m.state.tokens, w, stored.Tokens(), e); err != nil {
			return merged{}, err
		}
	}
	for w := range st.receipts.all() {
		if err := carryRow[string](&m.state.receipts, w, stored.Receipts(), e); err != nil {
			return merged{}, err
		}
	}
	m.carried.CaughtUp = t.caught
	m.carried.CaughtUp.Missing = slices.DeleteFunc(t.caught.Missing, func(id authority.TokenID) bool { return st.tokens.get(id) != nil })
	now, generation := s.now(), st.generation()
	for w := range m.state.tokens.all() {
		switch {
		case w.value.State(now, generation) != authority.StateActive:
		case t.content.state.tokens.get(w.value.ID) != nil:
			m.carried.Existing++
		default:
			m.carried.Carried++
		}
	}
	return m, nil
}

// carryRow puts a row into a table that has a file.
func carryRow[K ~string, T record[K, T]](to *sorted[K, T], w *row[T], c stored.Codec[T], e *edit) error {
	if w.text.bytes == nil {
		var err error
		if w, err = rowOf[K](w.value, &c); err != nil {
			return err
		}
	}
	to.put(w, e)
	return nil
}
