package mapstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"sort"

	"mintmark/internal/authority"
	"mintmark/internal/store/stored"
)

// trail is the audit log at one moment: the file up to a size, then entries.
type trail struct {
	log     io.ReaderAt // nil: entries only
	size    int64
	first   uint64 // number of the oldest event; 0: there is none
	last    place
	entries []entry
}

// page answers one page, newest first. Without a filter it reads no more than
// the page; a filter reads until the page is full and one more is found.
func (t trail) page(q authority.AuditQuery) (authority.AuditPage, error) {
	var page authority.AuditPage
	if t.first > 0 {
		page.Total = t.last.Seq - t.first + 1
	}
	for e, err := range t.backwards(q.Before) {
		if err != nil {
			return authority.AuditPage{}, err
		}
		if !q.Match(&e) {
			continue
		}
		if n := len(page.Events); n == max(q.Limit, 1) {
			page.Next = page.Events[n-1].Seq
			break
		}
		page.Events = append(page.Events, e.Clone())
	}
	return page, nil
}

// backwards yields the events below before (0: all), newest first.
func (t trail) backwards(before uint64) iter.Seq2[authority.Event, error] {
	return func(yield func(authority.Event, error) bool) {
		for i := len(t.entries) - 1; i >= 0; i-- {
			if e := t.entries[i].event; before == 0 || e.Seq < before {
				if !yield(e, nil) {
					return
				}
			}
		}
		if t.log == nil {
			return
		}
		end, err := t.offset(before)
		if err != nil {
			yield(authority.Event{}, err)
			return
		}
		c := stored.Events()
		for line, err := range linesBackwards(t.log, end) {
			e := authority.Event{}
			if err == nil {
				e, err = c.Decode(line)
			}
			if err != nil {
				err = fmt.Errorf("audit log: %w", err)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// offset answers where in the file the first event that is not below before
// begins. Numbers ascend, so it need not read what lies between.
func (t trail) offset(before uint64) (int64, error) {
	if before == 0 || before > t.last.Seq {
		return t.size, nil
	}
	var failed error
	at := sort.Search(int(t.size), func(i int) bool {
		if failed != nil {
			return true
		}
		line, _, err := lineAfter(t.log, int64(i), t.size)
		if err != nil || line == nil {
			failed = err
			return true
		}
		var e struct{ Seq uint64 }
		failed = json.Unmarshal(line, &e)
		return e.Seq >= before
	})
	if failed != nil {
		return 0, fmt.Errorf("audit log: %w", failed)
	}
	_, begin, err := lineAfter(t.log, int64(at), t.size)
	return begin, err
}

const (
	chunkSize = 64 << 10
	maxLine   = 1 << 20
)

// lineAfter answers the first line that begins at or after offset, and where it
// does; nil when there is none.
func lineAfter(r io.ReaderAt, offset, size int64) ([]byte, int64, error) {
	begin := offset
	if offset > 0 { // a line begins behind a line end
		begin = offset - 1
	}
	in := io.NewSectionReader(r, begin, size-begin)
	var text []byte
	for part := make([]byte, 1024); len(text) < 2*maxLine; {
		n, err := in.Read(part)
		text = append(text, part[:n]...)
		rest := text
		skipped := int64(0)
		if offset > 0 {
			i := bytes.IndexByte(text, '\n')
			if i < 0 {
				rest = nil
			} else {
				rest, skipped = text[i+1:], int64(i+1)
			}
		}
		if i := bytes.IndexByte(rest, '\n'); rest != nil && i >= 0 {
			return rest[:i], begin + skipped, nil
		}
		if err == io.EOF {
			return nil, size, nil
		}
		if err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, fmt.Errorf("a line of more than %d bytes", maxLine)
}

// linesBackwards yields the lines before end, the last first, and holds one
// chunk and one line.
func linesBackwards(r io.ReaderAt, end int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var text []byte // from at to the end of the last line not yet yielded
		for at := end; at > 0 || len(text) > 0; {
			if i := bytes.LastIndexByte(bytes.TrimSuffix(text, []byte("\n")), '\n'); i >= 0 || at == 0 {
				if !yield(bytes.TrimSuffix(text[i+1:], []byte("\n")), nil) {
					return
				}
				text = text[:i+1]
				continue
			}
			if len(text) > maxLine {
				yield(nil, fmt.Errorf("a line of more than %d bytes", maxLine))
				return
			}
			n := min(at, chunkSize)
			at -= n
			more := make([]byte, n, int(n)+len(text))
			if _, err := r.ReadAt(more, at); err != nil && err != io.EOF {
				yield(nil, err)
				return
			}
			text = append(more, text...)
		}
	}
}

// VerifyAudit checks the chain of the whole log: every number follows the one
// before and every hash covers its event and the hash before. It answers how
// many events hold and, when one does not, its number; the number is 0 when all
// hold. A log whose beginning is gone is checked from its first event on.
func (s *Store) VerifyAudit(ctx context.Context) (sound, broken uint64, err error) {
	t := s.durable.Load().trail
	var end place
	check := func(e authority.Event) bool {
		if sound > 0 || e.Seq == 1 {
			if want := e.ChainAfter(end.Seq, end.Hash); want.Seq != e.Seq || want.Hash != e.Hash {
				broken = end.Seq + 1
				return false
			}
		}
		end = place{e.Seq, e.Hash}
		sound++
		return true
	}
	c := stored.Events()
	for at := int64(0); t.log != nil && at < t.size; {
		if err := context.Cause(ctx); err != nil {
			return sound, 0, cancelled(err)
		}
		line, begin, err := lineAfter(t.log, at, t.size)
		if err != nil {
			return sound, 0, fmt.Errorf("audit log: %w", err)
		}
		e, err := c.Decode(line)
		if err != nil || !check(e) {
			return sound, end.Seq + 1, nil
		}
		at = begin + int64(len(line)) + 1
	}
	for _, e := range t.entries {
		if !check(e.event) {
			return sound, broken, nil
		}
	}
	return sound, 0, nil
}
