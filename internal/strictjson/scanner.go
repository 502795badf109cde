package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

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
