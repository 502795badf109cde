package authority_test

import (
	"net/netip"
	"strings"
	"testing"

	"mintmark/internal/authority"
)

func FuzzIDs(f *testing.F) {
	for _, s := range []string{
		"tok_7k3m9q2x0000000000000000aa", "lgn_7k3m9q2x0000000000000000aa", "tok_", "TOK_7k3m9q2x0000000000000000aa", "tok_7k3m9q2x0000000000000000ai", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "../etc", "", "a\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// What parses prints back byte for byte, and is a word that is safe
		// everywhere.
		plain := strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
		token, err := authority.ParseTokenID(s)
		if err == nil && (token.String() != s || !plain || len(s) != 30 || !strings.HasPrefix(s, "tok_") || !strings.HasPrefix(s, token.Short()) || len(token.Short()) != 12) {
			t.Errorf("token id %q prints %q and %q", s, token, token.Short())
		}
		login, loginErr := authority.ParseLoginID(s)
		if loginErr == nil && (login.String() != s || !plain || len(s) != 30 || !strings.HasPrefix(s, "lgn_")) {
			t.Errorf("login id %q prints %q", s, login)
		}
		if err == nil && loginErr == nil {
			t.Errorf("%q is both", s)
		}
		key, err := authority.ParseKeyID(s)
		if (err == nil) != (plain && len(s) >= 1 && len(s) <= 64) || err == nil && key.String() != s {
			t.Errorf("key id %q: %q, %v", s, key, err)
		}
		for _, err := range []error{err, loginErr} {
			if err != nil && authority.KindOf(err) != authority.Invalid {
				t.Errorf("%q is refused as %v", s, authority.KindOf(err))
			}
		}
		if role, err := authority.ParseRole(s); err == nil && string(role) != s {
			t.Errorf("role %q is %q", s, role)
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"batch", " Batch-01 ", "team:a/b", "a:b:c", "a:b,c", "x@y.example", "_a", "é", "a b", "\u212aelvin", "a:\x00", ":", "9a:1", strings.Repeat("a", 65), "a\u200bb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := authority.ParseClientID(s); err == nil {
			again, err := authority.ParseClientID(id)
			if err != nil || again != id || id != strings.TrimSpace(s) || id == "" || len(id) > 64 || strings.ContainsAny(id, " \t\r\n,:/\\\"'<>&%") {
				t.Errorf("client id %q is %q, then %q, %v", s, id, again, err)
			}
			name, err := authority.CanonicalName(s)
			if err != nil || name != strings.ToLower(id) {
				t.Errorf("user name %q is %q, %v", s, name, err)
			}
			if again, err := authority.CanonicalName(name); err != nil || again != name {
				t.Errorf("user name %q has a second form %q, %v", name, again, err)
			}
		} else if authority.KindOf(err) != authority.Invalid {
			t.Errorf("client id %q is refused as %v", s, authority.KindOf(err))
		}
		if tag, err := authority.ParseTag(s); err == nil {
			name, value, found := strings.Cut(tag, ":")
			if tag != s || !found || name == "" || value == "" || strings.ContainsAny(tag, ", \t\r\n;=\"\\") || strings.Contains(value, ":") {
				t.Errorf("tag %q is %q", s, tag)
			}
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{
		"10.0.0.0/8", "10.1.2.3", "10.1.2.3/8", "::1", "fe80::1%eth0", "fe80::/10", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "::ffff:0:0/96", "::/0", "0.0.0.0/0", "::ffff:10.0.0.0/95", "10.0.0.0/33", "10.0.0.0/08",
		"010.0.0.1", "10.0.0", " 10.0.0.1 ", "10.0.0.1:80", "[::1]", "", "1::%", "10.0.0.0/-1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := authority.ParseRange(s)
		if err != nil {
			if authority.KindOf(err) != authority.Invalid || p.IsValid() {
				t.Errorf("%q is refused as %v and is %v", s, authority.KindOf(err), p)
			}
			return
		}
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			t.Errorf("%q is the range %v", s, p)
		}
		if again, err := authority.ParseRange(p.String()); err != nil || again != p {
			t.Errorf("%q is %v, then %v, %v", s, p, again, err)
		}
		// The address that was written is in its range, however it arrives.
		if a, err := netip.ParseAddr(s); err == nil && !p.Contains(a.Unmap()) {
			t.Errorf("%v is not in its own range %v", a, p)
		}
	})
}
