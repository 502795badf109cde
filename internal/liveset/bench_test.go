package liveset_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
	"mintmark/internal/liveset"
	"mintmark/internal/signing"
)

// stock is a set with live tokens, and the texts of some, which need not be live.
type stock struct {
	set      *liveset.Set
	texts    []string
	verifier *jws.Verifier
}

const listed = "https://api.example"

func tokenNumber(n int, kid authority.KeyID) authority.Token {
	return authority.Token{
		ID: authority.TokenID("tok_" + crockford(n)), ClientID: fmt.Sprintf("client-%d", n), Role: authority.RoleUser, Tags: []string{"team:data", "env:prod"},
		Issuer: "https://tokens.example", Audience: []string{listed}, CreatedAt: time.Unix(1_800_000_000, 0), ExpiresAt: time.Unix(2_000_000_000, 0), KeyID: kid, Generation: 1,
	}
}

func crockford(n int) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(n)))
	var b strings.Builder
	for _, c := range sum[:26] {
		b.WriteByte("0123456789abcdefghjkmnpqrstvwxyz"[c&31])
	}
	return b.String()
}

func newStock(tb testing.TB, live, presented, recognised int) stock {
	tb.Helper()
	ring := signing.InMemory(rand.Reader)
	kid, err := ring.Generate("ES256")
	if err != nil {
		tb.Fatal(err)
	}
	audience := []string{listed}
	set, err := liveset.New(liveset.Config{
		Verifier: ring.Verifier, Now: func() time.Time { return time.Unix(1_800_000_100, 0) }, LoginIdle: func() time.Duration { return time.Hour },
		Audience: func() []string { return audience }, Record: func(authority.TokenID) (authority.Token, error) { return authority.Token{}, authority.NotFound }, Recognised: recognised, LoginIssuer: func() string { return "https://tokens.example" },
	})
	if err != nil {
		tb.Fatal(err)
	}
	key := authority.Key{ID: kid, State: authority.KeyCurrent}
	set.Load(authority.Change{System: &authority.System{Generation: 1}, Keys: []authority.Changed[authority.KeyID, authority.Key]{{Key: kid, Value: &key}}})
	s := stock{set: set, verifier: ring.Verifier(kid)}
	for n := range max(live, presented) {
		t := tokenNumber(n, kid)
		if n < live {
			set.Apply(authority.Change{Tokens: []authority.Changed[authority.TokenID, authority.Token]{{Key: t.ID, Value: &t}}})
		}
		if n >= presented {
			continue
		}
		text, err := ring.Mint(kid, authority.TypeToken, authority.Claims{
			Issuer: t.Issuer, Subject: t.ClientID, ClientID: t.ClientID, Audience: t.Audience, ID: string(t.ID),
			IssuedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, Role: t.Role, Tags: t.Tags,
		})
		if err != nil {
			tb.Fatal(err)
		}
		s.texts = append(s.texts, text.Unsafe())
	}
	return s
}

func BenchmarkVerdict(b *testing.B) {
	s := newStock(b, 1_000_000, 10_000, 0)
	d := liveset.Demand{From: netip.MustParseAddr("192.0.2.1")}
	for _, text := range s.texts {
		if v := s.set.Decide(text, d); !v.Allow() {
			b.Fatal(v.Reason)
		}
	}
	b.Run("warm", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if v := s.set.Decide(s.texts[i%len(s.texts)], d); !v.Allow() {
				b.Fatal(v.Reason)
			}
		}
	})
	digests := make(map[[32]byte]uint32)
	for i, text := range s.texts {
		digests[sha256.Sum256([]byte(text))] = uint32(i)
	}
	b.Run("digest-and-lookup", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			var text [1 << 9]byte // a copy on the stack
			if _, ok := digests[sha256.Sum256(append(text[:0], s.texts[i%len(s.texts)]...))]; !ok {
				b.Fatal("lost")
			}
		}
	})
	cold := newStock(b, 1_000, 1_000, 1)
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if v := cold.set.Decide(cold.texts[i%len(cold.texts)], d); !v.Allow() {
				b.Fatal(v.Reason)
			}
		}
	})
	b.Run("signature", func(b *testing.B) {
		type signed struct{ input, signature []byte }
		var all []signed
		for _, text := range cold.texts {
			at := strings.LastIndexByte(text, '.')
			signature, err := base64.RawURLEncoding.DecodeString(text[at+1:])
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, signed{[]byte(text[:at]), signature})
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if one := all[i%len(all)]; !cold.verifier.Verify(one.input, one.signature) {
				b.Fatal("refused")
			}
		}
	})
	unknown := newStock(b, 0, 1_000, 1)
	b.Run("unknown", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if v := unknown.set.Decide(unknown.texts[i%len(unknown.texts)], d); v.Reason != liveset.UnknownToken {
				b.Fatal(v.Reason)
			}
		}
	})
}
