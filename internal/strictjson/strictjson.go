// Package strictjson reads JSON that has exactly one reading: RFC 8259, in
// UTF-8 without a byte order mark, no duplicate member names, no lone
// surrogates, bounded depth, nothing behind the value.
//
// It touches nothing and imports nothing of ours. The one hard idea: a document
// that two readers could read differently is refused before anybody reads it.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deeply arrays and objects may nest.
const MaxDepth = 16

// Check reports why data is not one strict JSON value, or nil.
func Check(data []byte) error {
	s := scanner{json: string(data)}
	return s.whole()
}

// Member is one member of an object: its name without escapes, and its value as
// it stands in the text.
type Member struct {
	Name  string
	Value []byte
}

// Members checks data and reads the members of the object that it is, in their
// order.
func Members(data []byte) ([]Member, error) {
	fields, err := Fields(make([]Field, 0, 12), string(data))
	if err != nil {
		return nil, err
	}
	list := make([]Member, len(fields))
	for i, f := range fields {
		list[i] = Member{f.Name, []byte(f.Value)}
	}
	return list, nil
}

// Elements checks data and reads the elements of the array that it is, in their
// order.
func Elements(data []byte) ([][]byte, error) {
	items, err := Items(make([]Field, 0, 4), string(data))
	if err != nil {
		return nil, err
	}
	list := make([][]byte, len(items))
	for i, item := range items {
		list[i] = []byte(item.Value)
	}
	return list, nil
}

// Field is a member of an object, or an element of an array, which has no name.
// Both are parts of the text that was read, but for a name with escapes.
type Field struct{ Name, Value string }

// Fields is Members for whoever must not wait for memory: it appends to a slice
// of the caller, and copies nothing.
func Fields(to []Field, text string) ([]Field, error) {
	s := scanner{json: text}
	if s.space(); !s.begins('{') {
		return nil, s.isNot("an object")
	}
	var seen names
	more, err := s.open('}'), error(nil)
	for more {
		var f Field
		if f, more, err = s.member(&seen, 1); err == nil {
			to = append(to, f)
		}
	}
	return to, s.end(err)
}

// Items is Elements in the manner of Fields.
func Items(to []Field, text string) ([]Field, error) {
	s := scanner{json: text}
	if s.space(); !s.begins('[') {
		return nil, s.isNot("an array")
	}
	more, err := s.open(']'), error(nil)
	for more {
		var f Field
		if f.Value, more, err = s.within(1, ']'); err == nil {
			to = append(to, f)
		}
	}
	return to, s.end(err)
}

// Text checks data and reads the string that it is.
func Text(data []byte) (string, error) {
	s := scanner{json: string(data)}
	if s.space(); s.at >= len(data) || data[s.at] != '"' {
		return "", errors.New("it is not a string")
	}
	text, err := s.text()
	if err != nil {
		return "", err
	}
	if s.space(); s.at != len(data) {
		return "", errors.New("something follows the string")
	}
	return text, nil
}

// Unquoted reads the string that a value is that Fields or Items found.
func Unquoted(value string) (string, error) {
	if value[0] != '"' {
		return "", errors.New("it is not a string")
	}
	s := scanner{json: value}
	if strings.IndexByte(value, '\\') >= 0 {
		return s.text()
	}
	return value[1 : len(value)-1], nil
}

// Decode checks data and decodes it into a pointer. Members that into does not
// have, in exact case, and null for what cannot be null are refused by name.
func Decode(data []byte, into any) error {
	if err := Check(data); err != nil {
		return err
	}
	if err := exactMembers(data, reflect.TypeOf(into)); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return plain(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the value")
	}
	return nil
}

// plain drops what encoding/json says of Go types.
func plain(err error) error {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) {
		kind, _, _ := strings.Cut(t.Value, " ") // a number may follow, and it is the sender's
		article := "a"
		if kind == "array" || kind == "object" {
			article = "an"
		}
		return fmt.Errorf("member %q cannot be %s %s", t.Field, article, kind)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// exactMembers refuses members that encoding/json would match in another case.
func exactMembers(data []byte, t reflect.Type) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || implements(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		var members map[string]json.RawMessage
		if json.Unmarshal(data, &members) != nil {
			return nil // the decoder says it better
		}
		fields := fieldsOf(t)
		for name, raw := range members {
			field, ok := fields[name]
			if !ok {
				return fmt.Errorf("unknown member %q", name)
			}
			if string(raw) == "null" && !nullable(field) {
				return fmt.Errorf("member %q cannot be null", name)
			}
			if err := exactMembers(raw, field); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Array:
		var items []json.RawMessage
		if e := t.Elem().Kind(); e != reflect.Struct && e != reflect.Pointer && e != reflect.Slice && e != reflect.Map || json.Unmarshal(data, &items) != nil {
			return nil
		}
		for _, raw := range items {
			if err := exactMembers(raw, t.Elem()); err != nil {
				return err
			}
		}
	case reflect.Map:
		var members map[string]json.RawMessage
		if json.Unmarshal(data, &members) != nil {
			return nil
		}
		for _, raw := range members {
			if err := exactMembers(raw, t.Elem()); err != nil {
				return err
			}
		}
	default:
	}
	return nil
}

// nullable reports whether null says anything for a type: encoding/json passes
// over it for the others, as if the member were absent.
func nullable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
		return true
	default:
		return implements(t)
	}
}

func implements(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			for n, ft := range fieldsOf(embedded) {
				fields[n] = ft
			}
		case !f.IsExported() || name == "-":
		case name == "":
			fields[f.Name] = f.Type
		default:
			fields[name] = f.Type
		}
	}
	return fields
}

type scanner struct {
	json string
	at   int
}

var (
	errEnd    = errors.New("it ends too early")
	errDepth  = errors.New("it nests too deeply")
	errNumber = errors.New("the number is malformed")
)

// whole scans one value behind which nothing follows.
func (s *scanner) whole() error { return s.end(s.value(0)) }

// end says where a fault is, and that nothing follows a value without one.
func (s *scanner) end(err error) error {
	if err != nil {
		return fmt.Errorf("at byte %d: %w", s.at, err)
	}
	if s.space(); s.at != len(s.json) {
		return fmt.Errorf("at byte %d: something follows the value", s.at)
	}
	return nil
}

func (s *scanner) begins(c byte) bool { return s.at < len(s.json) && s.json[s.at] == c }

// isNot is what is wrong with a value of another kind.
func (s *scanner) isNot(kind string) error {
	if err := s.whole(); err != nil {
		return err
	}
	return errors.New("it is not " + kind)
}

func (s *scanner) space() {
	for s.at < len(s.json) {
		switch s.json[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

func (s *scanner) value(depth int) error {
	s.space()
	if s.at >= len(s.json) {
		return errEnd
	}
	switch c := s.json[s.at]; {
	case c == '{':
		return s.object(depth + 1)
	case c == '[':
		return s.array(depth + 1)
	case c == '"':
		_, err := s.text()
		return err
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	return errors.New("no value begins here")
}

func (s *scanner) word(w string) error {
	if !strings.HasPrefix(s.json[s.at:], w) {
		return errors.New("no value begins here")
	}
	s.at += len(w)
	return nil
}

func (s *scanner) next(c byte) bool {
	s.space()
	if s.at < len(s.json) && s.json[s.at] == c {
		s.at++
		return true
	}
	return false
}

// open goes into an object or array and reports whether something is in it.
func (s *scanner) open(end byte) bool {
	s.at++
	return !s.next(end)
}

func (s *scanner) object(depth int) error {
	if depth > MaxDepth {
		return errDepth
	}
	var seen names
	more, err := s.open('}'), error(nil)
	for more {
		_, more, err = s.member(&seen, depth)
	}
	return err
}

// member scans a member and what follows it: more is whether that is another.
func (s *scanner) member(seen *names, depth int) (f Field, more bool, err error) {
	if s.space(); !s.begins('"') {
		return f, false, errors.New("a member name is missing")
	}
	if f.Name, err = s.text(); err != nil {
		return f, false, err
	}
	if !seen.add(f.Name) {
		return f, false, fmt.Errorf("member %q is there twice", f.Name)
	}
	if !s.next(':') {
		return f, false, errors.New("a colon is missing")
	}
	f.Value, more, err = s.within(depth, '}')
	return f, more, err
}

func (s *scanner) array(depth int) error {
	if depth > MaxDepth {
		return errDepth
	}
	more, err := s.open(']'), error(nil)
	for more {
		_, more, err = s.within(depth, ']')
	}
	return err
}

// within scans a value of an object or array and what follows it.
func (s *scanner) within(depth int, end byte) (value string, more bool, err error) {
	s.space()
	start := s.at
	if err := s.value(depth); err != nil {
		return "", false, err
	}
	value = s.json[start:s.at]
	if s.next(end) {
		return value, false, nil
	}
	if !s.next(',') {
		return "", false, errors.New("a comma is missing")
	}
	return value, true, nil
}

// names is a set that is a list while it is small.
type names struct {
	few   [16]string
	count int
	many  map[string]struct{}
}

// add reports whether the name is new.
func (n *names) add(name string) bool {
	if n.many == nil {
		if slices.Contains(n.few[:n.count], name) {
			return false
		}
		if n.count < len(n.few) {
			n.few[n.count] = name
			n.count++
			return true
		}
		n.many = make(map[string]struct{}, 2*len(n.few))
		for _, old := range n.few {
			n.many[old] = struct{}{}
		}
	}
	_, twice := n.many[name]
	n.many[name] = struct{}{}
	return !twice
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.json) && s.json[s.at] >= '0' && s.json[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}

func (s *scanner) number() error {
	if s.json[s.at] == '-' {
		s.at++
	}
	zero := s.at < len(s.json) && s.json[s.at] == '0'
	start := s.at
	if !s.digits() || zero && s.at-start > 1 {
		return errNumber
	}
	if s.at < len(s.json) && s.json[s.at] == '.' {
		s.at++
		if !s.digits() {
			return errNumber
		}
	}
	if s.at < len(s.json) && (s.json[s.at] == 'e' || s.json[s.at] == 'E') {
		s.at++
		if s.at < len(s.json) && (s.json[s.at] == '+' || s.json[s.at] == '-') {
			s.at++
		}
		if !s.digits() {
			return errNumber
		}
	}
	return nil
}

// text scans a string and answers it with its escapes resolved.
func (s *scanner) text() (string, error) {
	s.at++
	start := s.at
	escaped := false
	for s.at < len(s.json) {
		switch c := s.json[s.at]; {
		case c == '"':
			raw := s.json[start:s.at]
			s.at++
			if !escaped {
				return raw, nil
			}
			var text string
			if err := json.Unmarshal([]byte(s.json[start-1:s.at]), &text); err != nil {
				return "", errors.New("the string is malformed")
			}
			return text, nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return "", err
			}
		case c < 0x20:
			return "", errors.New("a control character stands in a string")
		case c < utf8.RuneSelf:
			s.at++
		default:
			r, n := utf8.DecodeRuneInString(s.json[s.at:])
			if r == utf8.RuneError && n <= 1 {
				return "", errors.New("it is not UTF-8")
			}
			s.at += n
		}
	}
	return "", errEnd
}

func (s *scanner) escape() error {
	if s.at+1 >= len(s.json) {
		return errEnd
	}
	if s.json[s.at+1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, s.json[s.at+1]) < 0 {
			return errors.New("the escape is unknown")
		}
		s.at += 2
		return nil
	}
	high, err := s.unit()
	if err != nil || high < 0xD800 || high > 0xDFFF {
		return err
	}
	low, err := s.unit()
	if err != nil || high > 0xDBFF || low < 0xDC00 || low > 0xDFFF {
		return errors.New("a surrogate stands alone")
	}
	return nil
}

// unit scans one \uXXXX.
func (s *scanner) unit() (int, error) {
	if s.at+6 > len(s.json) || s.json[s.at] != '\\' || s.json[s.at+1] != 'u' {
		return 0, errors.New("the escape is malformed")
	}
	n := 0
	for _, c := range s.json[s.at+2 : s.at+6] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | int(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | int(c-'A'+10)
		default:
			return 0, errors.New("the escape is malformed")
		}
	}
	s.at += 6
	return n, nil
}
