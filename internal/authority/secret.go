package authority

import "fmt"

const redacted = "[secret]"

// Secret is text that must not be printed: a token, a password, a one-time
// code. Every way Go has of turning a value into text gives "[secret]".
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// Unsafe gives the text itself, for the one place that must send it.
func (s Secret) Unsafe() string { return s.text }

// String redacts.
func (Secret) String() string { return redacted }

// GoString redacts.
func (Secret) GoString() string { return redacted }

// Format redacts under every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText redacts in JSON, XML and log handlers.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
