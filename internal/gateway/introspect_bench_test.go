package gateway_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/gateway"
)

// What a question costs beyond net/http: the whole door against a handler that
// parses the same form, and answers as many bytes of its own.
func BenchmarkIntrospection(b *testing.B) {
	d := newDoors(b)
	forms := make([]string, 10_000)
	for i := range forms {
		issued := d.issue(authority.TokenRequest{ClientID: "client-" + strconv.Itoa(i), Role: "user", Tags: []string{"team:data", "env:prod"}})
		forms[i] = tokenForm(issued.Text.Unsafe())
	}
	answer := []byte(d.introspect(d.verifier, d.user.Text.Unsafe()).body)
	door := edge.Wrap(edge.Config{
		Log: slog.New(slog.NewTextHandler(&nobody{}, nil)), Now: time.Now, NewID: func() string { return strconv.Itoa(12345678) },
		TrustedProxies: func() []netip.Prefix { return nil },
		Doors:          map[string]edge.Door{"/oauth2/introspect": gateway.Introspect{Live: d.live, Audience: audience}},
	}, http.NotFoundHandler())
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("token") == "" {
			panic("there is no token")
		}
		for _, name := range []string{"Cache-Control", "X-Content-Type-Options", "X-Request-Id", "Content-Type"} {
			w.Header().Set(name, "constant")
		}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(answer)
	})
	for name, handler := range map[string]http.Handler{"door": door, "bare": bare} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			ask := func(form string) {
				r := httptest.NewRequest("POST", "/oauth2/introspect", nil)
				r.Header, r.ContentLength, r.Body = as(d.verifier), int64(len(form)), io.NopCloser(strings.NewReader(form))
				handler.ServeHTTP(&nowhere{make(http.Header)}, r)
			}
			for _, form := range forms {
				ask(form)
			}
			for i := 0; b.Loop(); i++ {
				ask(forms[i%len(forms)])
			}
		})
	}
}
