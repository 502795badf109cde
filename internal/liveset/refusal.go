package liveset

import (
	"slices"
	"strings"
	"time"

	"mintmark/internal/jws"
)

// Refusal is a verdict that did not allow, and what it was about: enough to
// explain it later. It holds nothing with which a token could be used.
type Refusal struct {
	At     time.Time
	Demand Demand
	Reason Reason
	Said   Said
}

// Said is what a token says of itself; nobody has vouched for it. The zero Said is
// that of no token.
type Said struct {
	Size   int        // of its text, in bytes
	Header jws.Header // zero when the form is bad
	Claims jws.Claims // zero when they cannot be read
	form   error      // what is wrong with the form
	claims error      // what is wrong with the claims
	cut    bool       // some claims were too long to be kept
}

// SaidBy reads what a token says, which goes on as parts of its text.
func SaidBy(raw string) Said {
	s, _ := hear(raw)
	return s
}

func hear(raw string) (Said, jws.Unverified) {
	u, err := jws.ParseToken(raw)
	s := Said{Size: len(raw), form: err}
	if err == nil {
		s.Header = u.Header()
		s.Claims, s.claims = u.UnverifiedClaims()
	}
	return s, u
}

// Refused answers a refusal to be kept: of what the token says no more than half
// a kilobyte, and nothing that is a part of its text. What has no good signature
// says its id, its client ID and its key alone.
func (v *Verdict) Refused(raw string, d *Demand, at time.Time) Refusal {
	r := Refusal{At: at, Demand: *d, Reason: v.Reason}
	if v.said != nil {
		r.Said = *v.said
	} else {
		r.Said = SaidBy(raw)
	}
	r.Said.shorten(v.Reason.Signed())
	return r
}

// maxKept bounds the texts that are kept of what a token says, in bytes.
const maxKept = 512

func (s *Said) shorten(whole bool) {
	h, c := &s.Header, &s.Claims
	if !whole {
		*c = jws.Claims{ID: c.ID, ClientID: c.ClientID}
	}
	c.Audience, c.Tags = slices.Clone(c.Audience), slices.Clone(c.Tags)
	alg := string(h.Alg)
	var room [32]*string
	texts := append(room[:0], &alg, &h.Kid, &h.Typ, &c.ID, &c.ClientID, &c.Subject, &c.Issuer, &c.Role)
	for i := range c.Audience {
		texts = append(texts, &c.Audience[i])
	}
	for i := range c.Tags {
		texts = append(texts, &c.Tags[i])
	}
	var b strings.Builder
	b.Grow(min(s.Size, maxKept)) // what it says is shorter than its text
	for i, text := range texts {
		if s.cut = s.cut || i >= cap(room) || b.Len()+len(*text) > maxKept; s.cut {
			*text = ""
		}
		b.WriteString(*text)
	}
	all := b.String()
	for _, text := range texts {
		*text, all = all[:len(*text)], all[len(*text):]
	}
	h.Alg = jws.Algorithm(alg)
	if s.cut {
		c.Audience, c.Tags = nil, nil
	}
}
