// Package backup is the form of a backup: everything that a home needs to go on
// somewhere else, in one stream that is encrypted as a whole.
//
// It reads and writes streams and touches nothing. Where a backup comes from and
// what becomes of it is for others.
//
// The one hard idea: a stream is believed only at its end. It is lines of JSON,
// one record each, and the last one has the counts and the SHA-256 of all before
// it; so a stream that was cut, or put together from two, is none. Around it age
// (age-encryption.org/v1) keeps it secret and finds every changed byte.
package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/stored"
)

// The errors of Read, by errors.Is.
var (
	// ErrForeign: it is no backup.
	ErrForeign = errors.New("it is no backup of mintmark")
	// ErrNewer: it needs a newer program.
	ErrNewer = errors.New("it was written by a newer version")
	// ErrDamaged: it is cut short, or was changed.
	ErrDamaged = errors.New("it is damaged")
)

const (
	format  = "mintmark-backup/"
	version = 1
	maxLine = 4 << 20
)

// Facts is what a backup says of itself.
type Facts struct {
	Product    string // the version that wrote it
	Host       string
	Issuer     string
	CreatedAt  time.Time
	Store      string // the kind of store it came from
	Generation uint64
	LastEvent  authority.Place // the end of the audit log; its own event is the last one
	Counts     Counts          // known at the end of the stream only
	Digest     string          // SHA-256 of the stream before its end; known at its end only
}

// Counts counts the records of a backup.
type Counts struct {
	Tokens, Receipts, Keys, Admins, Throttles, Events int
}

// Content is a whole backup.
type Content struct {
	Facts
	Keyring    []byte            // the keyring as its file has it
	Properties map[string]string // the applied configuration
	Records    authority.Records
	Events     []authority.Event // the audit log, oldest first
	// Restored is set in a backup that is being restored: the event about it.
	Restored *authority.Event
}

// Source is what is written: Content without having it all in memory.
type Source struct {
	Facts      Facts
	Keyring    []byte
	Properties map[string]string
	Records    authority.Records // without tokens
	Tokens     iter.Seq2[authority.Token, error]
	Events     iter.Seq2[authority.Event, error]
	Restored   *authority.Event
}

// Source is c to be written.
func (c *Content) Source() Source {
	return Source{
		Facts: c.Facts, Keyring: c.Keyring, Properties: c.Properties, Records: c.Records,
		Tokens: each(c.Records.Tokens), Events: each(c.Events), Restored: c.Restored,
	}
}

func each[T any](all []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range all {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Write writes a backup in the clear and answers what it says of itself. Who
// keeps the stream encrypts it.
func Write(to io.Writer, s Source) (Facts, error) {
	w := &writer{to: bufio.NewWriterSize(to, 64<<10), sum: sha256.New()}
	facts := s.Facts
	w.line(factsForm{
		Format: format + strconv.Itoa(version), Product: facts.Product, Host: facts.Host, Issuer: facts.Issuer, CreatedAt: facts.CreatedAt.UTC(),
		Store: facts.Store, Generation: facts.Generation, LastEvent: placeForm(facts.LastEvent),
	})
	w.line(lineForm{Home: &homeForm{s.Keyring, s.Properties}})
	if s.Restored != nil {
		w.line(lineForm{Restored: text(w, *s.Restored, stored.Events())})
	}
	for _, k := range s.Records.Keys {
		k.Sealed = nil // secrets are in the keyring here
		w.line(lineForm{Key: text(w, k, stored.Keys())})
	}
	for _, a := range s.Records.Admins {
		w.line(lineForm{Admin: text(w, a, stored.Admins())})
	}
	for _, t := range s.Records.Throttles {
		w.line(lineForm{Throttle: text(w, t, stored.Throttles())})
	}
	system := s.Records.System
	system.SetupDigest, system.SetupExpires = nil, time.Time{} // the code is for whoever it was shown to
	w.line(lineForm{System: text(w, system, stored.Systems())})
	for _, r := range s.Records.Receipts {
		w.line(lineForm{Receipt: text(w, r, stored.Receipts())})
	}
	counts := Counts{Receipts: len(s.Records.Receipts), Keys: len(s.Records.Keys), Admins: len(s.Records.Admins), Throttles: len(s.Records.Throttles)}
	for t, err := range s.Tokens {
		w.fail(err)
		w.line(lineForm{Token: text(w, t, stored.Tokens())})
		counts.Tokens++
	}
	for e, err := range s.Events {
		w.fail(err)
		w.line(lineForm{Event: text(w, e, stored.Events())})
		counts.Events++
	}
	facts.Counts, facts.Digest = counts, hex.EncodeToString(w.sum.Sum(nil))
	w.line(lineForm{End: &endForm{countsForm(counts), facts.Digest}})
	w.fail(w.to.Flush())
	return facts, w.err
}

func text[T any](w *writer, v T, c stored.Codec[T]) json.RawMessage {
	t, err := c.Encode(v)
	w.fail(err)
	return t
}

// writer keeps the first error.
type writer struct {
	to  *bufio.Writer
	sum hash.Hash
	err error
}

func (w *writer) fail(err error) {
	if w.err == nil && err != nil {
		w.err = fmt.Errorf("write a backup: %w", err)
	}
}

func (w *writer) line(v any) {
	if w.err != nil {
		return
	}
	text, err := json.Marshal(v)
	if err == nil {
		text = append(text, '\n')
		w.sum.Write(text)
		_, err = w.to.Write(text)
	}
	w.fail(err)
}

// Read reads a whole backup in the clear and checks it to its end.
func Read(from io.Reader) (*Content, error) { return read(from, func(*Content) {}) }

// Check reads a backup in the clear to its end, and keeps nothing but what it
// says of itself.
func Check(from io.Reader) (Facts, error) {
	c, err := read(from, func(c *Content) {
		c.Records.Tokens, c.Events = c.Records.Tokens[:0], c.Events[:0]
	})
	if err != nil {
		return Facts{}, err
	}
	return c.Facts, nil
}

func read(from io.Reader, after func(*Content)) (*Content, error) {
	r := &reader{from: bufio.NewReaderSize(from, 64<<10), sum: sha256.New()}
	first, err := r.next()
	if err != nil {
		return nil, err
	}
	c := &Content{}
	if c.Facts, err = readFacts(first); err != nil {
		return nil, err
	}
	for {
		sum := r.sum.Sum(nil)
		line, err := r.next()
		if err != nil {
			return nil, err
		}
		var l lineForm
		if err := strict(line, &l); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if l.End != nil {
			c.Digest = hex.EncodeToString(sum)
			if err := r.end(*l.End, c.Facts); err != nil {
				return nil, err
			}
			return c, nil
		}
		if err := l.into(c); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		after(c)
	}
}

type reader struct {
	from *bufio.Reader
	sum  hash.Hash
}

func (r *reader) next() ([]byte, error) {
	var text []byte
	for {
		part, err := r.from.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(text) < maxLine:
			continue
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, bufio.ErrBufferFull):
			return nil, ErrDamaged
		case err != nil:
			return nil, fmt.Errorf("read a backup: %w", err)
		}
		r.sum.Write(text)
		return text, nil
	}
}

// end checks that the last line is true, and the last.
func (r *reader) end(e endForm, facts Facts) error {
	if Counts(e.Counts) != facts.Counts || e.SHA256 != facts.Digest {
		return ErrDamaged
	}
	switch _, err := r.from.ReadByte(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("read a backup: %w", err)
	}
	return ErrDamaged
}

func readFacts(text []byte) (Facts, error) {
	rest, ours := bytes.CutPrefix(text, []byte(`{"format":"`+format))
	if !ours {
		return Facts{}, ErrForeign
	}
	number, _, _ := strings.Cut(string(rest), `"`)
	switch n, err := strconv.Atoi(number); {
	case err != nil || n < 1:
		return Facts{}, ErrDamaged
	case n > version:
		return Facts{}, ErrNewer
	}
	var s factsForm
	if err := strict(text, &s); err != nil {
		return Facts{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return Facts{
		Product: s.Product, Host: s.Host, Issuer: s.Issuer, CreatedAt: s.CreatedAt, Store: s.Store, Generation: s.Generation,
		LastEvent: authority.Place(s.LastEvent),
	}, nil
}

// strict takes no member that it does not know: a line of a version to come must
// not lose a part unseen.
func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
