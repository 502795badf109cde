package backup

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"mintmark/internal/authority"
)

// ErrKey says that a backup is not for the passphrase or identity that was
// given.
var ErrKey = errors.New("it does not open with that")

// Recipient is who can read a backup that is sealed.
type Recipient = age.Recipient

// Identity opens what is sealed for it.
type Identity = age.Identity

// ForPassphrase seals for whoever knows the passphrase: one attempt at it costs
// about a second and 256 MiB (scrypt, RFC 7914).
func ForPassphrase(passphrase authority.Secret) (Recipient, error) {
	return age.NewScryptRecipient(passphrase.Unsafe())
}

// ForRecipient seals for the holder of the identity of a public key, "age1…".
func ForRecipient(text string) (Recipient, error) {
	all, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil || len(all) != 1 {
		return nil, errors.New(`a recipient is one public key of age, "age1…"`)
	}
	return all[0], nil
}

// ByPassphrase opens what was sealed ForPassphrase.
func ByPassphrase(passphrase authority.Secret) (Identity, error) {
	return age.NewScryptIdentity(passphrase.Unsafe())
}

// ByIdentities opens what was sealed ForRecipient: the text of an identity file
// of age.
func ByIdentities(text authority.Secret) ([]Identity, error) {
	all, err := age.ParseIdentities(strings.NewReader(text.Unsafe()))
	if err != nil { // age's error tells the line and may tell what is in it
		return nil, errors.New("it is no identity file of age, which age-keygen writes")
	}
	return all, nil
}

// RecipientOf is for whoever holds the first of these identities that has a
// public key; nil when none has.
func RecipientOf(identities []Identity) Recipient {
	for _, id := range identities {
		switch id := id.(type) {
		case *age.X25519Identity:
			return id.Recipient()
		case *age.HybridIdentity:
			return id.Recipient()
		}
	}
	return nil
}

// Seal encrypts what is written; Close ends it and writes the rest.
func Seal(to io.Writer, r Recipient) (io.WriteCloser, error) {
	w, err := age.Encrypt(to, r)
	if err != nil {
		return nil, fmt.Errorf("seal a backup: %w", err)
	}
	return w, nil
}

// Open decrypts. Its error, and those of reading on, are ErrForeign, ErrKey and
// ErrDamaged.
func Open(from io.Reader, identities ...Identity) (io.Reader, error) {
	const magic = "age-encryption.org/"
	first := make([]byte, len(magic))
	if n, err := io.ReadFull(from, first); err != nil || string(first[:n]) != magic {
		return nil, ErrForeign
	}
	r, err := age.Decrypt(io.MultiReader(strings.NewReader(magic), from), identities...)
	var nobody *age.NoIdentityMatchError
	switch {
	case errors.As(err, &nobody):
		return nil, ErrKey
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return opened{r}, nil
}

// opened tells a changed byte from the end.
type opened struct{ from io.Reader }

func (o opened) Read(p []byte) (int, error) {
	n, err := o.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, err
}
