package mapstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
)

// Carried counts the tokens of a switch to another token file.
type Carried struct {
	Existing int // were in the file already
	Carried  int // came along from the store before
}

// SwitchTokens makes another token file, or memory when path is "", the place
// where tokens last, and carries every token and receipt along beside those
// that are there. Updates wait; each that was acknowledged before is in the new
// file, each after goes there. An id that is in both is refused. The file
// before stays as it is. commit is called once the tokens last in the new file and
// before anything uses it: the place to note where they are; its error undoes
// the switch. After an error nothing has changed, but that an empty file may
// have become an empty store.
func (s *Store) SwitchTokens(ctx context.Context, path string, commit func() error) (Carried, error) {
	if path != "" && s.state == nil {
		return Carried{}, errors.New("a token file needs a home")
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
		return Carried{Existing: s.newest.tokens.size}, commit()
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
	return Carried{Carried: s.newest.tokens.size}, nil
}

// toFile writes what both have and switches.
func (s *Store) toFile(t *taken, commit func() error) (Carried, error) {
	c := Carried{t.opened.Tokens, s.newest.tokens.size}
	next, existing, err := s.merge(t)
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
	entries, err := s.ledger.adopt(t.content.pending)
	if err != nil {
		return Carried{}, failure(err)
	}
	text, err := s.writer.compose(t.file, &next, s.ledger.head(entries), s.ledger.waiting(entries))
	if err != nil {
		return Carried{}, err
	}
	if err := s.replace(t.file, text, commit); err != nil {
		return Carried{}, err
	}
	s.ledger.add(entries)
	_ = s.ledger.move() // what stays is in the file, and in ledger.problem
	s.newest = next
	s.place(t.file, t.held)
	s.publish(next, []authority.Change{{Tokens: existing}})
	return c, nil
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

// merge answers the state with the tokens of both, and those that are new to
// followers.
func (s *Store) merge(t *taken) (state, []authority.Changed[authority.TokenID, authority.Token], error) {
	next, e := s.newest, new(edit)
	next.tokens, next.receipts = t.content.state.tokens, t.content.state.receipts
	existing := slices.Collect(func(yield func(authority.Changed[authority.TokenID, authority.Token]) bool) {
		for w := range t.content.state.tokens.all() {
			if !yield(authority.Changed[authority.TokenID, authority.Token]{Key: w.value.ID, Value: &w.value}) {
				return
			}
		}
	})
	for w := range s.newest.tokens.all() {
		if next.tokens.get(w.value.ID) != nil {
			return next, nil, &authority.Error{
				Kind: authority.Conflict, Code: "store.both",
				Msg: fmt.Sprintf("The token %s is in %s too. Name a file that does not hold tokens of this store.", w.value.ID, t.file.path),
			}
		}
		if err := carryRow[authority.TokenID](&next.tokens, w, tokenCodec(), e); err != nil {
			return next, nil, err
		}
	}
	for w := range s.newest.receipts.all() {
		if err := carryRow[string](&next.receipts, w, receiptCodec(), e); err != nil {
			return next, nil, err
		}
	}
	return next, existing, nil
}

// carryRow puts a row into a table that has a file.
func carryRow[K ~string, T record[K, T]](to *sorted[K, T], w *row[T], c codec[T], e *edit) error {
	if w.text.bytes == nil {
		var err error
		if w, err = rowOf[K](w.value, &c); err != nil {
			return err
		}
	}
	to.put(w, e)
	return nil
}
