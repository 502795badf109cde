package sqlstore

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/stored"
)

// commit writes a batch, makes it durable and tells followers.
func (b *batch) commit() error {
	s := b.store
	id, err := s.newID()
	if err != nil {
		b.giveUp()
		return broken(err)
	}
	statements, err := b.statements(id)
	if err != nil {
		b.giveUp()
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), b.timeout())
	defer cancel()
	// Nobody reads from the database what followers are about to be told.
	s.follow.Lock()
	defer s.follow.Unlock()
	sent, err := s.send(ctx, statements)
	switch {
	case err == nil:
		s.publish(position{revision: b.head.revision + 1, batch: id}, b.changes)
		s.note(nil)
		return nil
	case !sent && s.driver.Fault(err).Duplicate:
		b.giveUp()
		return errMistaken
	case !sent:
		b.giveUp()
		return failure(s.driver, err)
	}
	return b.resolve(id, err)
}

// send executes statements and commits. sent says that an error may be one of a
// commit that lasts all the same.
func (s *Store) send(ctx context.Context, statements []Statement) (sent bool, err error) {
	if s.driver.Send != nil {
		err := s.driver.Send(ctx, s.session.conn, statements)
		return err != nil && s.driver.Fault(err).Lost, err
	}
	for _, st := range statements {
		if err := s.session.exec(ctx, st.Text, st.Args...); err != nil {
			// Without space the log did not take the commit: nothing can be left of it.
			return st.Text == commitText && s.driver.Fault(err).Kind != authority.Full, err
		}
	}
	return false, nil
}

const commitText = "COMMIT"

func (s *Store) newID() (string, error) {
	raw := make([]byte, 16)
	if _, err := io.ReadFull(s.random, raw); err != nil {
		return "", fmt.Errorf("a random id: %w", err)
	}
	return hex.EncodeToString(raw), nil
}

// statements are what writes a batch, the last of which commits it.
func (b *batch) statements(id string) ([]Statement, error) {
	w, s := b.store.write, &spelling{}
	s.tokens(w, b.sum.tokens, b.read.tokens)
	spell(s, kindReceipt, b.sum.receipts, stored.Receipts())
	spell(s, kindKey, b.sum.keys, stored.Keys())
	spell(s, kindAdmin, b.sum.admins, stored.Admins())
	spell(s, kindLogin, b.sum.logins, stored.Logins())
	spell(s, kindThrottle, b.sum.throttles, stored.Throttles())
	spell(s, kindSystem, b.sum.system, stored.Systems())
	s.documents(w)
	seq, hash := s.events(w, b.head, b.events)
	if s.err != nil {
		return nil, broken(s.err)
	}
	keys, err := json.Marshal(s.keys)
	if err != nil {
		return nil, broken(err)
	}
	revision := b.head.revision + 1
	out := append(s.out,
		Statement{`INSERT INTO commits (revision, batch, keys) VALUES ($1, $2, $3)`, []any{revision, id, string(keys)}},
		Statement{`UPDATE head SET revision = $1, batch = $2, audit_seq = $3, audit_hash = $4 WHERE one = 1`, []any{revision, id, int64(seq), hash}})
	if revision%forgetEvery == 0 {
		out = append(out, Statement{`DELETE FROM commits WHERE revision <= $1`, []any{revision - remembered}})
	}
	if b.store.driver.Notify != "" {
		out = append(out, Statement{b.store.driver.Notify, []any{fmt.Sprint(revision)}})
	}
	return append(out, Statement{Text: commitText}), nil
}

// A follower that is further behind than what is remembered reads everything
// again.
const (
	remembered  = 20_000
	forgetEvery = 256
)

// spelling collects the statements of a batch.
type spelling struct {
	out                        []Statement
	keys                       []string // kind and key of what is touched
	inserted, updated, removed [][]any  // of the table records
	err                        error
}

func (s *spelling) tokens(w *writer, sum, read layer[authority.TokenID, authority.Token]) {
	all := rowset{table: "tokens", keys: 1, columns: tokenColumns()}
	tags := rowset{table: "token_tags", keys: 4, columns: texts("fold", "tag", "role", "id")}
	inserted, updated, removed, tagged, untagged := all, all, all, tags, tags
	for _, id := range slices.Sorted(maps.Keys(sum)) {
		e := sum[id]
		if e.value == nil && e.base != present {
			continue
		}
		s.keys = append(s.keys, string(kindToken)+string(id))
		var old [][]any
		if e.base == present {
			old = tagRows(read[id].value)
		}
		if e.value == nil {
			removed.rows = append(removed.rows, []any{string(id)})
			untagged.rows = append(untagged.rows, old...)
			continue
		}
		row, err := tokenRow(e.value)
		if err != nil {
			s.err = errors.Join(s.err, fmt.Errorf("token %s: %w", id, err))
			continue
		}
		if e.base == present {
			updated.rows = append(updated.rows, row)
		} else {
			inserted.rows = append(inserted.rows, row)
		}
		fresh := tagRows(e.value)
		untagged.rows = append(untagged.rows, without(old, fresh)...)
		tagged.rows = append(tagged.rows, without(fresh, old)...)
	}
	s.out = slices.Concat(s.out, w.remove(untagged), w.remove(removed), w.update(updated), w.insert(inserted), w.insert(tagged))
}

// without answers the rows of a that are not in b.
func without(a, b [][]any) [][]any {
	return slices.DeleteFunc(slices.Clone(a), func(row []any) bool {
		return slices.ContainsFunc(b, func(other []any) bool { return slices.Equal(row, other) })
	})
}

// spell puts the records of one kind where documents finds them.
func spell[K ~string, T record[K, T]](s *spelling, k kind, l layer[K, T], c stored.Codec[T]) {
	for _, key := range sortedKeys(l) {
		e := l[key]
		if e.value == nil && e.base != present {
			continue
		}
		s.keys = append(s.keys, string(k)+string(key))
		if e.value == nil {
			s.removed = append(s.removed, []any{string(k), string(key)})
			continue
		}
		line, err := c.Encode(*e.value)
		if err != nil {
			s.err = errors.Join(s.err, fmt.Errorf("record %s %q: %w", k, key, err))
			continue
		}
		row := []any{string(k), string(key), string(line)}
		if e.base == present {
			s.updated = append(s.updated, row)
		} else {
			s.inserted = append(s.inserted, row)
		}
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func (s *spelling) documents(w *writer) {
	r := rowset{table: "records", keys: 2, columns: texts("kind", "id", "record")}
	inserted, updated, removed := r, r, r
	inserted.rows, updated.rows, removed.rows = s.inserted, s.updated, s.removed
	s.out = slices.Concat(s.out, w.remove(removed), w.update(updated), w.insert(inserted))
}

// events numbers and chains events behind the head.
func (s *spelling) events(w *writer, h head, events []authority.Event) (seq uint64, hash string) {
	r := rowset{table: "audit", keys: 1, columns: texts("seq", "at", "actor", "action", "target", "label", "outcome", "event")}
	r.columns[0].number = true
	codec := stored.Events()
	seq, hash = h.seq, h.hash
	for _, e := range events {
		e = e.ChainAfter(seq, hash)
		seq, hash = e.Seq, e.Hash
		line, err := codec.Encode(e)
		if err != nil {
			s.err = errors.Join(s.err, err)
		}
		r.rows = append(r.rows, []any{int64(e.Seq), sortable(e.At), e.Actor.Name, e.Action, e.Target, e.Label, e.Outcome, string(line)})
	}
	s.out = append(s.out, w.insert(r)...)
	return seq, hash
}

// sortable is a time as text that compares like the time.
func sortable(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000") }

// doubt is a commit of which nobody knows whether it lasted.
type doubt struct {
	batch    string
	revision int64
	changes  []authority.Change
	cause    error
}

// resolve finds out at once whether the commit lasted. If it cannot, the store
// changes and shows nothing before settle can.
func (b *batch) resolve(id string, cause error) error {
	s := b.store
	s.disconnect()
	d := &doubt{batch: id, revision: b.head.revision + 1, changes: b.changes, cause: cause}
	lasted, err := s.reconcile(d)
	switch {
	case err != nil:
		s.doubt = d
		s.doubted.change(func(v *bool) { *v = true })
		return doubtful(errors.Join(cause, err))
	case !lasted:
		return failure(s.driver, cause)
	}
	s.note(nil)
	return nil
}

// settle ends a doubt, if there is one. The caller leads.
func (s *Store) settle() error {
	if s.doubt == nil {
		return nil
	}
	s.follow.Lock()
	defer s.follow.Unlock()
	if _, err := s.reconcile(s.doubt); err != nil {
		return doubtful(errors.Join(s.doubt.cause, err))
	}
	s.doubt = nil
	s.doubted.change(func(v *bool) { *v = false })
	return nil
}

// rewritten commits the head as it is, by two changes: SQLite writes nothing when
// a row stays as it is.
func rewritten() []Statement {
	return []Statement{
		{Text: `UPDATE head SET revision = revision + 1 WHERE one = 1`}, {Text: `UPDATE head SET revision = revision - 1 WHERE one = 1`}, {Text: commitText},
	}
}

// reconcile finds out whether a commit lasted. Whoever holds the head knows that
// the transaction in doubt is over, one way or the other; and what another
// commit has followed can neither come back nor go.
func (s *Store) reconcile(d *doubt) (lasted bool, err error) {
	if err := s.connect(); err != nil {
		return false, err
	}
	b := &batch{store: s, db: &dbtx{ctx: context.Background(), session: s.session}}
	if b.head, err = readHead(b.db, s.driver.Lock); err == nil {
		lasted, err = b.db.row([]any{new(int64)}, `SELECT revision FROM commits WHERE revision = $1 AND batch = $2`, d.revision, d.batch)
	}
	if err != nil {
		s.disconnect()
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), statementTime)
	defer cancel()
	_, err = s.send(ctx, rewritten())
	if err != nil {
		s.disconnect()
		return false, err
	}
	if lasted {
		s.publish(position{revision: d.revision, batch: d.batch}, d.changes)
	}
	return lasted, nil
}
