package api

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

const redacted = "[secret]"

// Secret is a token's text or a password. Printing and logging redact it; only
// JSON encoding, which is how it is sent, and Unsafe give the text.
type Secret struct {
	text *string // %p prints the fields of what has no address: this one is an address
}

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{&text} }

// Unsafe gives the text itself.
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

// LogValue redacts in log lines.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON writes the text: this is the wire.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.Unsafe()) }

// UnmarshalJSON reads the text.
func (s *Secret) UnmarshalJSON(data []byte) error {
	s.text = new(string)
	return json.Unmarshal(data, s.text)
}
