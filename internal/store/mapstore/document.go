package mapstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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
// with one record a line. The checksum covers every byte before its member and
// what follows its value is fixed, so that a changed, missing or added byte
// anywhere is found.
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

// writer builds a document in a buffer that is used again.
type writer struct{ buf bytes.Buffer }

func (w *writer) begin(h header) error {
	w.buf.Reset()
	line, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode a header: %w", err)
	}
	w.buf.Write(line[:len(line)-1])
	w.buf.WriteString(",\n")
	return nil
}

// section writes the records that each hands over, one a line.
func (w *writer) section(name string, each func(line func([]byte))) {
	w.buf.WriteString(`"` + name + `":[`)
	separator := "\n"
	each(func(text []byte) {
		w.buf.WriteString(separator)
		w.buf.Write(text)
		separator = ",\n"
	})
	w.buf.WriteString("\n],\n")
}

// end answers the document; it is valid until the next begin.
func (w *writer) end() []byte {
	sum := sha256.Sum256(w.buf.Bytes())
	w.buf.WriteString(checksumMember + hex.EncodeToString(sum[:]) + documentEnd)
	return w.buf.Bytes()
}

// reader takes a document apart. The lines it answers are parts of the file's
// text.
type reader struct {
	header header
	rest   []byte
}

// read checks the format, the checksum and the first line.
func read(format string, text []byte) (*reader, error) {
	if err := checkFormat(format, text); err != nil {
		return nil, err
	}
	at := len(text) - len(checksumMember) - checksumSize - len(documentEnd)
	if at < 0 {
		return nil, errDamaged
	}
	sum := sha256.Sum256(text[:at])
	if string(text[at:]) != checksumMember+hex.EncodeToString(sum[:])+documentEnd {
		return nil, errDamaged
	}
	first, rest, ok := bytes.Cut(text[:at], []byte(",\n"))
	r := &reader{rest: rest}
	if !ok {
		return nil, errDamaged
	}
	if err := strictjson.Decode(append(bytes.Clone(first), '}'), &r.header); err != nil {
		return nil, fmt.Errorf("%w: first line: %w", errDamaged, err)
	}
	return r, nil
}

// checkFormat tells a damaged file of ours from anybody else's.
func checkFormat(format string, text []byte) error {
	rest, ok := bytes.CutPrefix(text, []byte(`{"format":"`+format+`/`))
	if !ok {
		if strings.HasPrefix(`{"format":"`+format+`/`, string(text)) {
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
func (r *reader) section(name string) ([][]byte, error) {
	rest, ok := bytes.CutPrefix(r.rest, []byte(`"`+name+`":[`+"\n"))
	if !ok {
		return nil, fmt.Errorf("%w: no section %q where it belongs", errDamaged, name)
	}
	var lines [][]byte
	for {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return nil, fmt.Errorf("%w: section %q has no end", errDamaged, name)
		}
		rest = after
		if string(line) == "]," {
			r.rest = rest
			return lines, nil
		}
		body, more := bytes.CutSuffix(line, []byte(","))
		lines = append(lines, body)
		if more == bytes.HasPrefix(rest, []byte("],\n")) {
			return nil, fmt.Errorf("%w: section %q: a comma is missing or too many", errDamaged, name)
		}
	}
}

// finish checks that nothing is left.
func (r *reader) finish() error {
	if len(r.rest) != 0 {
		return fmt.Errorf("%w: text after the last section", errDamaged)
	}
	return nil
}
