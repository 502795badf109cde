package jws

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/strictjson"
)

// NumericDate is seconds since 1970 UTC, or absent (RFC 7519 section 2). The
// zero NumericDate is absent.
type NumericDate struct {
	seconds int64
	set     bool
}

// At is t as a NumericDate; the zero time is absent.
func At(t time.Time) NumericDate {
	if t.IsZero() {
		return NumericDate{}
	}
	return NumericDate{t.Unix(), true}
}

// Time is the date as a time, and whether there is one.
func (d NumericDate) Time() (time.Time, bool) { return time.Unix(d.seconds, 0).UTC(), d.set }

// String is RFC 3339, or "none".
func (d NumericDate) String() string {
	if !d.set {
		return "none"
	}
	t, _ := d.Time()
	return t.Format(time.RFC3339)
}

// Claims is the claims set of a token (RFC 7519 section 4.1, RFC 9068 section
// 2.2). Empty members are absent.
type Claims struct {
	Issuer    string
	Subject   string
	ClientID  string
	Audience  []string
	ID        string
	IssuedAt  NumericDate
	NotBefore NumericDate
	Expires   NumericDate
	Role      string
	Tags      []string
}

// Marshal writes the claims in a fixed order: equal claims give equal bytes.
func (c Claims) Marshal() []byte {
	var b strings.Builder
	b.WriteByte('{')
	member := func(name, value string) {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + name + `":` + value)
	}
	text := func(name, value string) {
		if value != "" {
			member(name, quote(value))
		}
	}
	date := func(name string, d NumericDate) {
		if d.set {
			member(name, strconv.FormatInt(d.seconds, 10))
		}
	}
	text("iss", c.Issuer)
	text("sub", c.Subject)
	text("client_id", c.ClientID)
	switch len(c.Audience) {
	case 0:
	case 1:
		member("aud", quote(c.Audience[0]))
	default:
		member("aud", list(c.Audience))
	}
	text("jti", c.ID)
	date("iat", c.IssuedAt)
	date("nbf", c.NotBefore)
	date("exp", c.Expires)
	text("role", c.Role)
	if len(c.Tags) > 0 {
		member("tags", list(c.Tags))
	}
	b.WriteByte('}')
	return []byte(b.String())
}

func list(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

// ParseClaims reads a claims set strictly: types are exact, null is not absent,
// dates are whole seconds in [0, 2^53), and a claim of ours in another case is
// refused. Members that we do not know are passed over.
func ParseClaims(payload []byte) (Claims, error) { return parseClaims(string(payload)) }

// parseClaims makes claims that are parts of the payload.
func parseClaims(payload string) (c Claims, _ error) {
	var room [12]strictjson.Field
	fields, err := strictjson.Fields(room[:0], payload)
	if err != nil {
		return Claims{}, faultf(ClaimsMalformed, "the claims are not strict JSON: %v", err)
	}
	for _, f := range fields {
		if err := c.take(f.Name, f.Value); err != nil {
			return Claims{}, faultf(ClaimsMalformed, "the claim %s is malformed", f.Name)
		}
	}
	return c, nil
}

func (c *Claims) take(name, value string) (err error) {
	switch name {
	case "iss":
		c.Issuer, err = strictjson.Unquoted(value)
	case "sub":
		c.Subject, err = strictjson.Unquoted(value)
	case "client_id":
		c.ClientID, err = strictjson.Unquoted(value)
	case "jti":
		c.ID, err = strictjson.Unquoted(value)
	case "role":
		c.Role, err = strictjson.Unquoted(value)
	case "aud":
		c.Audience, err = oneOrMany(value)
	case "tags":
		c.Tags, err = many(value)
	case "iat":
		c.IssuedAt, err = date(value)
	case "nbf":
		c.NotBefore, err = date(value)
	case "exp":
		c.Expires, err = date(value)
	default:
		if confusable(name, "iss", "sub", "client_id", "jti", "role", "iat", "nbf", "exp", "aud", "tags") {
			err = errors.New("another case")
		}
	}
	return err
}

func oneOrMany(value string) ([]string, error) {
	if value[0] == '[' {
		return many(value)
	}
	one, err := strictjson.Unquoted(value)
	return []string{one}, err
}

func many(value string) ([]string, error) {
	var room [8]strictjson.Field
	items, err := strictjson.Items(room[:0], value)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(items))
	for i, item := range items {
		if out[i], err = strictjson.Unquoted(item.Value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// date reads a NumericDate. Fractions are refused: we never write one, and two
// readers that round differently would differ on the end of a token.
func date(raw string) (NumericDate, error) {
	n, err := strconv.ParseUint(raw, 10, 53)
	if err != nil {
		return NumericDate{}, errors.New("not a whole number of seconds")
	}
	return NumericDate{int64(n), true}, nil
}

// Expect is what a verifier expects of claims.
type Expect struct {
	Issuer   string   // exactly
	Audience []string // one of them
	Now      time.Time
	Leeway   time.Duration // how far clocks may differ
}

// Check holds the claims against what is expected. An Expect without an issuer
// or an audience is refused: a check is never skipped.
func (c Claims) Check(e Expect) error {
	if err := c.CheckIssuer(e.Issuer); err != nil {
		return err
	}
	if err := c.CheckAudience(e.Audience); err != nil {
		return err
	}
	return c.CheckTimes(e.Now, e.Leeway)
}

// CheckIssuer holds iss against the one issuer, byte by byte (RFC 7519 section
// 4.1.1).
func (c Claims) CheckIssuer(issuer string) error {
	if issuer == "" || c.Issuer != issuer {
		return faultf(WrongIssuer, "iss is %q, expected %q", c.Issuer, issuer)
	}
	return nil
}

// CheckAudience wants one of the recipients in aud (RFC 7519 section 4.1.3).
func (c Claims) CheckAudience(recipients []string) error {
	if !slices.ContainsFunc(c.Audience, func(a string) bool { return a != "" && slices.Contains(recipients, a) }) {
		return faultf(WrongAudience, "aud is %q, expected one of %q", c.Audience, recipients)
	}
	return nil
}

// CheckTimes holds exp, nbf and iat, each if it is there, against the present
// (RFC 7519 sections 4.1.4 to 4.1.6).
func (c Claims) CheckTimes(now time.Time, leeway time.Duration) error {
	if end, ok := c.Expires.Time(); ok && !now.Before(end.Add(leeway)) {
		return faultf(Expired, "exp was %s, now is %s", c.Expires, now.UTC().Format(time.RFC3339))
	}
	if begin, ok := c.NotBefore.Time(); ok && now.Add(leeway).Before(begin) {
		return faultf(NotYetValid, "nbf is %s, now is %s", c.NotBefore, now.UTC().Format(time.RFC3339))
	}
	if issued, ok := c.IssuedAt.Time(); ok && now.Add(leeway).Before(issued) {
		return faultf(IssuedInFuture, "iat is %s, now is %s", c.IssuedAt, now.UTC().Format(time.RFC3339))
	}
	return nil
}

// UnverifiedClaims reads the claims of a token whose signature nobody has
// checked yet. They may be looked up to refuse a token early, never to accept,
// log or report anything; once Verify has succeeded they count.
func (u Unverified) UnverifiedClaims() (Claims, error) {
	return parseClaims(u.payload)
}

// Seconds are those since 1970 UTC, and whether the date is there.
func (d NumericDate) Seconds() (int64, bool) { return d.seconds, d.set }
