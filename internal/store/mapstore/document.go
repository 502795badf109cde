package mapstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"mintmark/internal/strictjson"
)

// A document is the text of one file: JSON with a fixed layout,
//
//	{"format":"mintmark-tokens/1","revision":12,"head":{…},
//	"tokens":[
//	{…},
//	{…}
//	],
//	"checksum":"sha256:…"}
//
// with one record a line. The checksum is the SHA-256 over every line before its
// own: the SHA-256 of the line without its final comma, and one byte that tells
// whether it had one. So a record that did not change need not be hashed again,
// and yet a changed, missing or added byte anywhere is found: the last line has
// nothing but the checksum in a fixed frame.
const (
	checksumMember = `"checksum":"sha256:`
	checksumSize   = 2 * sha256.Size
	documentEnd    = "\"}\n"
)

// The formats and the newest version of each that this program reads.
const (
	tokensFormat = "mintmark-tokens"
	stateFormat  = "mintmark-state"
	version      = 1
)

var (
	errForeign = errors.New("it was not written by mintmark")
	errNewer   = errors.New("it was written by a newer version")
	errDamaged = errors.New("it is damaged")
)

// header is the first line.
type header struct {
	Format   string   `json:"format"`
	Revision uint64   `json:"revision"`
	Head     place    `json:"head"`
	Opened   []string `json:"opened,omitempty"` // token files this home has used
}

// place is the end of the audit log.
type place struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash,omitempty"`
}

// text is one record's line without its comma, and its SHA-256.
type text struct {
	bytes []byte
	sum   [sha256.Size]byte
}

func textOf(line []byte) text { return text{line, sha256.Sum256(line)} }

// digest collects what the checksum covers.
type digest []byte

func (d *digest) add(t *text, comma bool) {
	*d = append(*d, t.sum[:]...)
	if comma {
		*d = append(*d, 1)
	} else {
		*d = append(*d, 0)
	}
}

// end answers the last line of a document.
func (d digest) end() string {
	sum := sha256.Sum256(d)
	return checksumMember + hex.EncodeToString(sum[:]) + documentEnd
}

// writer builds a document in buffers that are used again.
type writer struct {
	buf    []byte
	digest digest
}

func (w *writer) begin(h header) error {
	w.buf, w.digest = w.buf[:0], w.digest[:0]
	line, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode a header: %w", err)
	}
	t := textOf(line[:len(line)-1])
	w.line(&t, true)
	return nil
}

func (w *writer) line(t *text, comma bool) {
	w.buf = append(w.buf, t.bytes...)
	if comma {
		w.buf = append(w.buf, ',')
	}
	w.buf = append(w.buf, '\n')
	w.digest.add(t, comma)
}

// section writes one array of records.
func (w *writer) section(name string, size int, lines iter.Seq[*text]) {
	begin, end := textOf([]byte(`"`+name+`":[`)), textOf([]byte("]"))
	w.line(&begin, false)
	n := 0
	for t := range lines {
		n++
		w.line(t, n < size)
	}
	w.line(&end, true)
}

// end answers the document; it is valid until the next begin.
func (w *writer) end() []byte {
	w.buf = append(w.buf, w.digest.end()...)
	return w.buf
}

// reader takes a document apart. The lines it answers are parts of the file.
type reader struct {
	header header
	lines  []text
}

// read checks the format, the checksum and the first line.
func read(format string, document []byte) (*reader, error) {
	if err := checkFormat(format, document); err != nil {
		return nil, err
	}
	at := len(document) - len(checksumMember) - checksumSize - len(documentEnd)
	if at < 0 {
		return nil, errDamaged
	}
	r := &reader{}
	var sums digest
	for rest := document[:at]; len(rest) > 0; {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return nil, errDamaged
		}
		body, comma := bytes.CutSuffix(line, []byte(","))
		t := textOf(body)
		sums.add(&t, comma)
		r.lines, rest = append(r.lines, t), after
	}
	if string(document[at:]) != sums.end() {
		return nil, errDamaged
	}
	first, ok := r.next()
	if !ok {
		return nil, errDamaged
	}
	if err := strictjson.Decode(append(bytes.Clone(first.bytes), '}'), &r.header); err != nil {
		return nil, fmt.Errorf("%w: first line: %w", errDamaged, err)
	}
	return r, nil
}

func (r *reader) next() (text, bool) {
	if len(r.lines) == 0 {
		return text{}, false
	}
	t := r.lines[0]
	r.lines = r.lines[1:]
	return t, true
}

// checkFormat tells a damaged file of ours from anybody else's.
func checkFormat(format string, document []byte) error {
	rest, ok := bytes.CutPrefix(document, []byte(`{"format":"`+format+`/`))
	if !ok {
		if strings.HasPrefix(`{"format":"`+format+`/`, string(document)) {
			return errDamaged
		}
		return errForeign
	}
	number, _, ok := bytes.Cut(rest, []byte(`"`))
	n, err := strconv.Atoi(string(number))
	switch {
	case !ok || err != nil || n < 1:
		return errDamaged
	case n > version:
		return errNewer
	}
	return nil
}

// section answers the lines of the next section, which must be the named one.
func (r *reader) section(name string) ([]text, error) {
	if t, ok := r.next(); !ok || string(t.bytes) != `"`+name+`":[` {
		return nil, fmt.Errorf("%w: no section %q where it belongs", errDamaged, name)
	}
	for i, t := range r.lines {
		if string(t.bytes) == "]" {
			lines := r.lines[:i]
			r.lines = r.lines[i+1:]
			return lines, nil
		}
	}
	return nil, fmt.Errorf("%w: section %q has no end", errDamaged, name)
}

// finish checks that nothing is left.
func (r *reader) finish() error {
	if len(r.lines) != 0 {
		return fmt.Errorf("%w: text after the last section", errDamaged)
	}
	return nil
}
