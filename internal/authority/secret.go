package authority

import "fmt"

const redacted = "[secret]"

// Secret is text that must not be printed: a token, a password, a one-time
// code. Every way Go has of turning a value into text gives "[secret]". The
// text lies behind a pointer: package fmt does not ask a Secret in an unexported
// member of something else for its text, but it follows no pointer there.
type Secret struct{ text *string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{&text} }

// Unsafe gives the text itself, for the one place that must send it; the zero
// Secret has none.
func (s Secret) Unsafe() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String redacts.
func (Secret) String() string { return redacted }

// GoString redacts.
func (Secret) GoString() string { return redacted }

// Format redacts under every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText redacts in JSON, XML and log handlers.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
