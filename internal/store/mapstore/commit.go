package mapstore

import (
	"errors"
	"fmt"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
)

// commit makes a batch durable and publishes it. Only one caller at a time is
// here.
func (s *Store) commit(b *batch) error {
	if err := s.ledger.ready(); err != nil {
		return failure(err)
	}
	entries, err := s.ledger.chain(b.events)
	if err != nil {
		return &authority.Error{Kind: authority.Internal, Code: "store.encode", Err: err}
	}
	if b.file == nil {
		if err := s.ledger.write(entries); err != nil {
			return failure(err)
		}
		s.publish(b.state, b.changes)
		return nil
	}
	text, err := s.writer.compose(b.file, &b.state, s.ledger.head(entries), s.ledger.waiting(entries))
	if err != nil {
		return &authority.Error{Kind: authority.Internal, Code: "store.encode", Err: err}
	}
	if err := b.file.save(s.files, text); err != nil {
		if !errors.Is(err, durable.ErrUnknown) {
			return failure(err)
		}
		return s.resolve(&unknown{batch: b, entries: entries, mark: mark(text), cause: err})
	}
	s.committed(b, entries)
	return nil
}

// committed takes over what a file holds now.
func (s *Store) committed(b *batch, entries []entry) {
	s.ledger.add(entries)
	s.publish(b.state, b.changes)
}

// unknown is a write of which nobody knows whether it lasted.
type unknown struct {
	batch   *batch
	entries []entry
	mark    string // of the text that was written
	cause   error
}

// resolve finds out at once whether the write is there. If it cannot, the store
// changes and shows nothing before settle can.
func (s *Store) resolve(u *unknown) error {
	lasted, err := s.reconcile(u)
	switch {
	case err != nil:
		u.batch.doubt = u
		return doubtful(errors.Join(u.cause, err))
	case !lasted:
		return failure(u.cause)
	}
	return nil
}

// reconcile reads what is there and writes it again, to a new file, until that
// is certain to last.
func (s *Store) reconcile(u *unknown) (lasted bool, err error) {
	f := u.batch.file
	text, err := s.files.Read(f.path, maxFile)
	if err != nil {
		return false, fmt.Errorf("reading back: %w", err)
	}
	_, err = read(f.format, text)
	found := mark(text)
	if err != nil || found != u.mark && found != f.mark {
		return false, fmt.Errorf("%s was changed by somebody else; stop, and restore it from a backup", f.path)
	}
	if err := s.files.Write(f.path, text); err != nil {
		return false, fmt.Errorf("writing again: %w", err)
	}
	if found != u.mark {
		return false, nil
	}
	f.saved(text)
	s.committed(u.batch, u.entries)
	return true, nil
}

// settle ends a doubt, if there is one. The caller has the turn; nobody writes
// while there is a doubt.
func (s *Store) settle() error {
	if s.doubt == nil {
		return nil
	}
	lasted, err := s.reconcile(s.doubt)
	if err != nil {
		return doubtful(errors.Join(s.doubt.cause, err))
	}
	if lasted {
		s.newest = s.durable.Load().state
	}
	s.doubt = nil
	s.doubted.Store(false)
	s.note(s.ledger.problem)
	return nil
}

// settled is settle for those who have no turn.
func (s *Store) settled() error {
	if !s.doubted.Load() {
		return nil
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	return s.settle()
}

func (l *ledger) head(more []entry) place {
	if len(more) == 0 {
		return l.last
	}
	e := more[len(more)-1].event
	return place{e.Seq, e.Hash}
}

// failure classes an error after which nothing has changed.
func failure(err error) error {
	e := &authority.Error{Kind: authority.Unavailable, Code: "store.unavailable", Msg: "The change could not be stored; nothing was changed.", Err: err}
	switch {
	case errors.Is(err, durable.ErrUnknown):
		return doubtful(err)
	case errors.Is(err, durable.ErrFull):
		e.Kind, e.Code, e.Msg = authority.Full, "store.full", "There is no space left where changes are stored; nothing was changed."
	case errors.Is(err, durable.ErrReadOnly):
		e.Code, e.Msg = "store.read_only", "The place where changes are stored is read-only; nothing was changed."
	}
	return e
}

func doubtful(err error) error {
	return &authority.Error{
		Kind: authority.Unavailable, Code: "store.unknown",
		Msg: "It is not known whether the change was stored; look before you try again.", Err: err,
	}
}

func unavailable(err error) error {
	return &authority.Error{Kind: authority.Unavailable, Code: "store.unavailable", Msg: "The store is closed.", Err: err}
}

func cancelled(err error) error {
	return &authority.Error{Kind: authority.Unavailable, Code: "request.cancelled", Msg: "The request was given up; nothing was changed.", Err: err}
}
