// Package pathrule says what the path of a request demands, and reads a path so
// that there is no second way to read it.
//
// It touches nothing but the texts that it is given.
//
// The one hard idea: the path that is judged is the path that is handed on. Only
// Read makes a Path, it refuses whatever servers read in different ways, and
// what it answers has a single spelling, from which the other side reads exactly
// what was judged.
package pathrule

import (
	"strings"
	"unicode/utf8"
)

// Path is the path of a request in its one reading. The zero Path is none.
type Path struct{ plain, escaped string }

// Plain is the path without escapes.
func (p Path) Plain() string { return p.plain }

// Escaped is the path as it is sent: in capitals, and with no escape that is not
// needed (RFC 3986 section 6.2.2).
func (p Path) Escaped() string { return p.escaped }

// Read reads an escaped path. It answers false for what servers take for
// different paths: empty, "." and ".." segments, escaped slashes, escapes of
// escapes, backslashes, parameters after a semicolon, control characters, and
// what is not UTF-8 text.
func Read(escaped string) (Path, bool) {
	if escaped == "" {
		escaped = "/" // RFC 9110 section 4.2.3
	}
	p, ok := decode(escaped)
	if !ok || p.plain[0] != '/' || !utf8.ValidString(p.plain) {
		return Path{}, false
	}
	for rest := p.plain[1:]; rest != ""; {
		var segment string
		if segment, rest, _ = strings.Cut(rest, "/"); strings.Trim(segment, ".") == "" {
			return Path{}, false // also "...", which some take for two folders up
		}
	}
	return p, true
}

// decode undoes the escapes of a path and writes those that are needed anew.
func decode(escaped string) (Path, bool) {
	at := 0
	for at < len(escaped) && isPlain(escaped[at]) {
		at++
	}
	if at == len(escaped) {
		return Path{escaped, escaped}, true
	}
	plain, again := []byte(escaped[:at]), []byte(escaped[:at])
	for ; at < len(escaped); at++ {
		c, wasEscaped := escaped[at], false
		if c == '%' {
			if len(escaped)-at < 3 {
				return Path{}, false
			}
			high, low := hex(escaped[at+1]), hex(escaped[at+2])
			if high > 15 || low > 15 {
				return Path{}, false
			}
			c, wasEscaped = high<<4|low, true
			at += 2
		}
		if c < ' ' || c == 0x7f || strings.IndexByte(`\;%`, c) >= 0 || wasEscaped && c == '/' {
			return Path{}, false
		}
		plain = append(plain, c)
		// A sign with a meaning of its own keeps the form in which it came.
		if isPlain(c) && (!wasEscaped || isUnreserved(c)) {
			again = append(again, c)
		} else {
			again = append(again, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return Path{string(plain), string(again)}, true
}

const upperHex = "0123456789ABCDEF"

// hex answers a digit's value, or more than 15.
func hex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// isUnreserved: an escape of these says the same as they do (RFC 3986 section
// 2.3).
func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// isPlain takes what stands in a path as it is (RFC 3986 section 3.3), but for
// the semicolon.
func isPlain(c byte) bool { return isUnreserved(c) || strings.IndexByte("/!$&'()*+,=:@", c) >= 0 }
