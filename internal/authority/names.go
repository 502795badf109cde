package authority

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Role is what a token may do.
type Role string

// The roles. An Admin may change everything, a User calls the protected APIs,
// a Verifier may introspect and nothing else.
const (
	RoleAdmin    Role = "admin"
	RoleUser     Role = "user"
	RoleVerifier Role = "verifier"
)

// ParseRole accepts the wire names in exact case.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case RoleAdmin, RoleUser, RoleVerifier:
		return r, nil
	}
	return "", fail(Invalid, "role.unknown", "The role is one of admin, user, verifier.")
}

const (
	maxClientID    = 64
	maxTags        = 20
	maxDescription = 200
	maxContact     = 120
	maxAddresses   = 50
	maxAudiences   = 10
	maxAudience    = 200
)

// ParseClientID checks a client ID: 1 to 64 letters, digits and . _ - @ that
// start with a letter or digit. Surrounding space is trimmed.
func ParseClientID(s string) (string, error) {
	s = strings.TrimSpace(s)
	bad := func(code, msg string) (string, error) {
		return "", invalid(FieldError{"client_id", code, msg})
	}
	if s == "" {
		return bad("client_id.empty", "Enter a client ID.")
	}
	if n := utf8.RuneCountInString(s); n > maxClientID {
		return bad("client_id.too_long", fmt.Sprintf("64 characters at most; this has %d.", n))
	}
	for _, r := range s {
		if r > unicode.MaxASCII || !isAlnum(byte(r)) && !strings.ContainsRune("._-@", r) {
			return bad("client_id.characters", fmt.Sprintf("Use letters, digits and . _ - @ only. %s.", contains(s, r)))
		}
	}
	if !isAlnum(s[0]) {
		return bad("client_id.start", "A client ID starts with a letter or digit.")
	}
	return s, nil
}

func contains(s string, r rune) string {
	what := strconv.QuoteRuneToASCII(r)
	if r == ' ' {
		what = "a space"
	}
	return strconv.QuoteToASCII(s) + " contains " + what
}

// ParseTag checks one name:value label. The name starts with a letter and has
// up to 32 letters, digits and . _ -; the value has up to 64 letters, digits
// and . _ - @ / +. Neither can hold a comma, so a list of tags joins with ",".
func ParseTag(s string) (string, error) {
	name, value, ok := strings.Cut(s, ":")
	if !ok || name == "" || value == "" {
		return "", fail(Invalid, "tags.form", fmt.Sprintf("A tag is name:value; %s is not.", strconv.QuoteToASCII(s)))
	}
	if len(name) > 32 || len(value) > 64 {
		return "", fail(Invalid, "tags.too_long", "A tag's name has 32 characters at most, its value 64.")
	}
	if c := name[0]; !isAlnum(c) || c >= '0' && c <= '9' || !only(name, "._-") || !only(value, "._-@/+") {
		return "", fail(Invalid, "tags.characters", fmt.Sprintf("Tags use letters, digits and . _ - only (values also @ / +); %s does not.", strconv.QuoteToASCII(s)))
	}
	return s, nil
}

func only(s, extra string) bool {
	for _, c := range []byte(s) {
		if !isAlnum(c) && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return true
}

func parseTags(in []string) ([]string, *FieldError) {
	if len(in) > maxTags {
		return nil, &FieldError{"tags", "tags.too_many", fmt.Sprintf("20 tags at most; these are %d.", len(in))}
	}
	seen := make(map[string]bool, len(in))
	var out []string
	for _, s := range in {
		tag, err := ParseTag(strings.TrimSpace(s))
		if err != nil {
			return nil, &FieldError{"tags", "tags.form", err.Error()}
		}
		if seen[tag] {
			return nil, &FieldError{"tags", "tags.twice", tag + " is there twice."}
		}
		seen[tag] = true
		out = append(out, tag)
	}
	return out, nil
}

// ParseRange reads an address or a CIDR prefix, IPv4 or IPv6, without a zone.
// Bits behind the prefix are cleared. Addresses of clients are compared as IPv4
// where they are IPv4-mapped (RFC 4291 section 2.5.5.2), so ranges of such
// addresses are read as IPv4, too.
func ParseRange(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, invalid(FieldError{"allowed_addresses", "allowed_addresses.form", strconv.QuoteToASCII(s) + " is not an address range."})
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

func parseAddresses(in []string) ([]netip.Prefix, *FieldError) {
	if len(in) > maxAddresses {
		return nil, &FieldError{"allowed_addresses", "allowed_addresses.too_many", fmt.Sprintf("50 address ranges at most; these are %d.", len(in))}
	}
	var out []netip.Prefix
	for i, s := range in {
		p, err := ParseRange(strings.TrimSpace(s))
		if err != nil {
			line := ""
			if len(in) > 1 {
				line = fmt.Sprintf("Line %d: ", i+1)
			}
			return nil, &FieldError{"allowed_addresses", "allowed_addresses.form", line + err.Error()}
		}
		out = append(out, p)
	}
	return out, nil
}

func parseAudience(in []string) ([]string, *FieldError) {
	if len(in) > maxAudiences {
		return nil, &FieldError{"audience", "audience.too_many", fmt.Sprintf("10 audiences at most; these are %d.", len(in))}
	}
	for _, s := range in {
		if s == "" || len(s) > maxAudience || !printable(s) || strings.ContainsAny(s, " \",\\") {
			return nil, &FieldError{"audience", "audience.form", "An audience has 1 to 200 printable characters without spaces, commas, quotes or backslashes."}
		}
	}
	return append([]string(nil), in...), nil
}

// parseText bounds free text and refuses control characters, so that it stays
// inert in terminals and logs (CWE-117, CWE-150).
func parseText(field, s string, limit int) (string, *FieldError) {
	s = strings.TrimSpace(s)
	if n := utf8.RuneCountInString(s); n > limit {
		return "", &FieldError{field, field + ".too_long", fmt.Sprintf("%d characters at most; this has %d.", limit, n)}
	}
	if !printable(s) {
		return "", &FieldError{field, field + ".characters", "Control characters are not allowed here."}
	}
	return s, nil
}

// storable reports whether a record may have some texts in it. Not every database
// can be asked for another one.
func storable(texts ...string) bool {
	for _, s := range texts {
		if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
			return false
		}
	}
	return true
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// CanonicalName gives the one spelling of an administrator's name that counts:
// ASCII letters in lower case, digits and . _ - @, 1 to 64 characters. Variants
// by case or surrounding space meet the same account and the same throttle.
func CanonicalName(s string) (string, error) {
	name, err := ParseClientID(s)
	if err != nil {
		return "", fail(Invalid, "username.form", "A user name has 1 to 64 letters, digits and . _ - @ and starts with a letter or digit.")
	}
	return strings.ToLower(name), nil
}
