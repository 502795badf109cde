package mapstore

import (
	"fmt"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/stored"
)

// maxFile bounds what is read into memory at start.
const maxFile = 4 << 30

// file is one document on the disk, as this store last wrote or read it.
type file struct {
	path     string
	format   string
	revision uint64
	opened   []string // state.json: the token files this home has used
	mark     string   // of the text that is there
}

// content is what a document holds.
type content struct {
	header  header
	state   state
	pending []authority.Event
}

// compose writes the document of f for st. The answer is valid until the next
// call.
func (w *writer) compose(f *file, st *state, head place, pending []entry) ([]byte, error) {
	if err := w.begin(header{fmt.Sprintf("%s/%d", f.format, version), f.revision + 1, head, f.opened}); err != nil {
		return nil, err
	}
	if f.format == tokensFormat {
		writeRows(w, "tokens", st.tokens)
		writeRows(w, "receipts", st.receipts)
	} else {
		writeRows(w, "keys", st.keys)
		writeRows(w, "admins", st.admins)
		writeRows(w, "logins", st.logins)
		writeRows(w, "throttles", st.throttles)
		writeRows(w, "system", st.system)
	}
	w.section("pending_events", len(pending), func(yield func(*text) bool) {
		for i := range pending {
			if !yield(&pending[i].line) {
				return
			}
		}
	})
	return w.end(), nil
}

func writeRows[K ~string, T record[K, T]](w *writer, name string, rows sorted[K, T]) {
	w.section(name, rows.size, func(yield func(*text) bool) {
		for r := range rows.all() {
			if !yield(&r.text) {
				return
			}
		}
	})
}

// parse reads a document.
func parse(format string, document []byte) (content, error) {
	var c content
	r, err := read(format, document)
	if err != nil {
		return c, err
	}
	c.header = r.header
	p := &parser{reader: r}
	if format == tokensFormat {
		c.state.tokens = parseRows[authority.TokenID](p, "tokens", stored.Tokens())
		c.state.receipts = parseRows[string](p, "receipts", stored.Receipts())
	} else {
		c.state.keys = parseRows[authority.KeyID](p, "keys", stored.Keys())
		c.state.admins = parseRows[string](p, "admins", stored.Admins())
		c.state.logins = parseRows[authority.LoginID](p, "logins", stored.Logins())
		c.state.throttles = parseRows[string](p, "throttles", stored.Throttles())
		c.state.system = parseRows[string](p, "system", stored.Systems())
	}
	for _, line := range p.lines("pending_events") {
		e, err := stored.Events().Decode(line.bytes)
		if err != nil && p.err == nil {
			p.err = fmt.Errorf("%w: pending event: %w", errDamaged, err)
		}
		c.pending = append(c.pending, e)
	}
	if p.err == nil {
		p.err = r.finish()
	}
	return c, p.err
}

// parser keeps the first error of a row of sections.
type parser struct {
	*reader
	err error
}

func (p *parser) lines(name string) []text {
	if p.err != nil {
		return nil
	}
	var lines []text
	lines, p.err = p.section(name)
	return lines
}

func parseRows[K ~string, T record[K, T]](p *parser, name string, c stored.Codec[T]) sorted[K, T] {
	lines := p.lines(name)
	if p.err != nil {
		return sorted[K, T]{}
	}
	rows, err := load[K](lines, c)
	if err != nil {
		p.err = fmt.Errorf("%w: %s: %w", errDamaged, name, err)
	}
	return rows
}

// save replaces f by document.
func (f *file) save(files durable.Files, document []byte) error {
	if err := files.Write(f.path, document); err != nil {
		return err
	}
	f.saved(document)
	return nil
}

func (f *file) saved(document []byte) {
	f.revision++
	f.mark = mark(document)
}

// mark tells one text of a file from another: its checksum.
func mark(document []byte) string {
	return string(document[max(0, len(document)-len(documentEnd)-checksumSize):])
}
