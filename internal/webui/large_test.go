package webui_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
)

// crowd puts n tokens into the store at once: who issues them one by one waits
// for as many signatures.
func (h *house) crowd(t testing.TB, n int) {
	t.Helper()
	keys, err := h.authority.Keys(context.Background(), operator())
	if err != nil {
		t.Fatal(err)
	}
	err = h.store.Update(context.Background(), func(tx authority.Tx) error {
		for i := range n {
			if err := tx.Tokens().Insert(authority.Token{
				ID: authority.TokenID(fmt.Sprintf("tok_%026d", i)), ClientID: fmt.Sprintf("service-%06d", i), Role: authority.RoleUser, Tags: []string{"team:web"},
				Audience: []string{"https://api.example"}, Issuer: "https://mint.example", KeyID: keys[0].ID, Generation: 1,
				CreatedAt: h.now().Add(-time.Duration(i) * time.Second), CreatedBy: "admin", ExpiresAt: h.now().Add(90 * 24 * time.Hour),
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkPages measures pages beside themselves with few tokens and with many.
func BenchmarkPages(b *testing.B) {
	for _, n := range []int{50, 100_000} {
		h := newHouse(b, nil)
		v := h.signedIn(b)
		h.crowd(b, n)
		status, body := v.send("/secret/rotate", map[string][]string{"overlap": {"336h0m0s"}, "reason": {"scheduled"}})
		if status.StatusCode != http.StatusOK || !strings.Contains(body, "signs from now on") {
			b.Fatalf("rotating answered %d", status.StatusCode)
		}
		for _, path := range []string{"/tokens", "/tokens?sort=expires_at", "/secret", "/status"} {
			b.Run(fmt.Sprintf("%s with %d", strings.ReplaceAll(path, "/", ""), n), func(b *testing.B) {
				for b.Loop() {
					if status, _ := v.get(path); status != http.StatusOK {
						b.Fatalf("answered %d", status)
					}
				}
			})
		}
	}
}

// weight is the length of a page and of every file that a browser loads for it.
func (v *visitor) weight(path string) (page, files int) {
	v.t.Helper()
	_, body := v.get(path)
	seen := make(map[string]bool)
	var load func(address string)
	load = func(address string) {
		if seen[address] {
			return
		}
		seen[address] = true
		status, text := v.get(address)
		if status != http.StatusOK {
			v.t.Fatalf("%s answered %d", address, status)
		}
		files += len(text)
		for _, found := range regexp.MustCompile(` from "\./([a-z]+\.js)"`).FindAllStringSubmatch(text, -1) {
			load(address[:strings.LastIndex(address, "/")+1] + found[1])
		}
	}
	for _, found := range regexp.MustCompile(`(?:src|href)="(/static/[^"#]+)"`).FindAllStringSubmatch(body, -1) {
		load(found[1])
	}
	if len(seen) < 5 {
		v.t.Fatalf("the page loads %d files alone", len(seen))
	}
	return len(body), files
}

func TestAFullPageIsLight(t *testing.T) {
	h := newHouse(t, nil)
	v := h.signedIn(t)
	var texts []string
	for i := range 60 {
		texts = append(texts, h.issue(t, authority.TokenRequest{ClientID: fmt.Sprintf("service-%02d", i), Role: "user", Tags: []string{"team:data", "env:production"}, Description: "What it is for"}).Text.Unsafe())
	}
	for range 9 {
		h.use(t, texts...)
		h.later(v, 25*time.Hour)
	}
	page, files := v.weight("/tokens")
	t.Logf("the page has %d bytes, its files %d", page, files)
	if page+files > 150_000 {
		t.Errorf("the page with 50 rows weighs %d bytes", page+files)
	}
}
