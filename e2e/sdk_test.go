package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mintmark/verify"
)

// service is somebody's HTTP service that checks tokens with package verify.
type service struct {
	t       *testing.T
	url     string
	entered atomic.Int64
}

func newService(t *testing.T, v verify.Verifier, d verify.Demand) *service {
	t.Helper()
	s := &service{t: t}
	server := httptest.NewServer(verify.Require(v, d)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.entered.Add(1)
		who, _ := verify.FromContext(r.Context())
		w.Header().Set("X-Who", who.ClientID+"/"+who.Role+"/"+strings.Join(who.Tags, ","))
	})))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// wants holds the answer to a token against a status; a refused request never
// reaches the handler.
func (s *service) wants(token string, status int, who string) {
	s.t.Helper()
	before := s.entered.Load()
	got := call(s.t, request{url: s.url, authorization: "Bearer " + token})
	if got.status != status || got.header.Get("X-Who") != who {
		s.t.Errorf("the service answers %d to %q, want %d to %q", got.status, got.header.Get("X-Who"), status, who)
	}
	if entered := s.entered.Load() - before; entered == 1 != (status == http.StatusOK) {
		s.t.Errorf("%d, and the handler was entered %d times", got.status, entered)
	}
}

// issuerAt is what the authority publishes of itself, and is its audience too
// until somebody sets another.
func (h home) issuerAt(t *testing.T, client *http.Client) string {
	t.Helper()
	var metadata struct {
		Issuer string `json:"issuer"`
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+"/.well-known/oauth-authorization-server", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := exchange(t, client, r)
	if err := json.Unmarshal([]byte(got.body), &metadata); err != nil || metadata.Issuer == "" {
		t.Fatalf("the metadata is %s: %v", got.body, err)
	}
	return metadata.Issuer
}

// A service verifies by the published keys alone: it sees a reset when its keys
// are five minutes old, a deletion never, and an outage neither lets in nor
// keeps out whom its keys still know.
func TestAServiceVerifiesOfflineByThePublishedKeys(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{"ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			h := startHome(t)
			h.manager(t, "config", "properties", "set", "jwt.algorithm", alg)
			h.manager(t, "config", "apply")
			h.manager(t, "support", "reset-jwt-key", "--confirm", host) // the algorithm is that of the next key
			var later atomic.Int64
			issuer := h.issuerAt(t, &http.Client{Timeout: wireTimeout})
			config := verify.OfflineConfig{
				Issuer: issuer, Audience: []string{issuer}, KeySetURL: h.url + "/.well-known/jwks.json",
				Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) },
			}
			v, err := verify.NewOffline(config)
			if err != nil {
				t.Fatal(err)
			}
			s, admins := newService(t, v, verify.Demand{Tags: []string{"team:a"}}), newService(t, v, verify.Demand{Role: "admin"})
			user, admin := h.token(t, "sdk", "user", "--tag", "team:a", "--tag", "env:prod"), h.token(t, "root", "admin")
			plain, verifier := h.token(t, "plain", "user"), h.token(t, "gate", "verifier")
			s.wants(user, http.StatusOK, "sdk/user/team:a,env:prod")
			s.wants(admin, http.StatusOK, "root/admin/")
			admins.wants(admin, http.StatusOK, "root/admin/")
			admins.wants(user, http.StatusForbidden, "")
			s.wants(plain, http.StatusForbidden, "")
			s.wants(verifier, http.StatusForbidden, "")
			s.wants(user[:len(user)-1], http.StatusUnauthorized, "")
			s.wants(h.signIn(t, "application/json", `{"username":"admin","password":"`+adminPassword+`"}`), http.StatusUnauthorized, "")
			config.Audience = []string{"https://elsewhere.example"}
			foreign, err := verify.NewOffline(config)
			if err != nil {
				t.Fatal(err)
			}
			newService(t, foreign, verify.Demand{}).wants(user, http.StatusUnauthorized, "")

			h.manager(t, "token", "delete", "sdk", "--yes")
			h.rejects(t, "Bearer "+user)
			s.wants(user, http.StatusOK, "sdk/user/team:a,env:prod") // only the authority knows of it
			h.manager(t, "support", "reset-jwt-key", "--confirm", host)
			s.wants(admin, http.StatusOK, "root/admin/")
			later.Store(int64(5 * time.Minute))
			s.wants(admin, http.StatusUnauthorized, "")
			fresh := h.token(t, "fresh", "admin")
			s.wants(fresh, http.StatusOK, "fresh/admin/")

			h.manager(t, "stop")
			later.Store(int64(15 * time.Minute))
			s.wants(fresh, http.StatusOK, "fresh/admin/")
			later.Store(int64(2 * time.Hour))
			s.wants(fresh, http.StatusServiceUnavailable, "")
		})
	}
}

// A service asks the authority, over TLS, and refuses what has ended on the next
// request; what it remembers it forgets in time, and an outage lets nobody in.
func TestAServiceAsksTheAuthority(t *testing.T) {
	h, client := overTLS(t)
	var later atomic.Int64
	askedBy := func(token string, remember time.Duration) verify.Verifier {
		t.Helper()
		v, err := verify.NewOnline(verify.OnlineConfig{
			URL: h.url + "/oauth2/introspect", Token: func() string { return token }, Audience: []string{h.issuerAt(t, client)}, Remember: remember, Client: client,
			Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) },
		})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	verifier := h.token(t, "gate", "verifier")
	user, admin, plain := h.token(t, "sdk", "user", "--tag", "team:a"), h.token(t, "root", "admin"), h.token(t, "plain", "user")
	s := newService(t, askedBy(verifier, 0), verify.Demand{Tags: []string{"team:a"}})
	remembers := newService(t, askedBy(verifier, time.Minute), verify.Demand{})
	s.wants(user, http.StatusOK, "sdk/user/team:a")
	s.wants(admin, http.StatusOK, "root/admin/")
	s.wants(plain, http.StatusForbidden, "")
	s.wants(verifier, http.StatusUnauthorized, "") // it opens no door
	s.wants(user[:len(user)-1], http.StatusUnauthorized, "")
	s.wants("nothing", http.StatusUnauthorized, "")
	remembers.wants(user, http.StatusOK, "sdk/user/team:a")

	h.manager(t, "token", "delete", "sdk", "--confirm", "sdk")
	s.wants(user, http.StatusUnauthorized, "")
	remembers.wants(user, http.StatusOK, "sdk/user/team:a")
	later.Store(int64(time.Minute))
	remembers.wants(user, http.StatusUnauthorized, "")
	h.manager(t, "token", "restore", "sdk")
	remembers.wants(user, http.StatusOK, "sdk/user/team:a")

	for name, token := range map[string]string{"a User's": plain, "no token": "x", "one for others": h.token(t, "elsewhere", "verifier", "--audience", "https://elsewhere.example")} {
		status := http.StatusServiceUnavailable // whoever may not ask is told nothing
		if name == "one for others" {
			status = http.StatusUnauthorized
		}
		newService(t, askedBy(token, 0), verify.Demand{}).wants(plain, status, "")
	}
	h.manager(t, "stop")
	s.wants(user, http.StatusServiceUnavailable, "")
	remembers.wants(user, http.StatusOK, "sdk/user/team:a")
	later.Store(int64(2 * time.Minute))
	remembers.wants(user, http.StatusServiceUnavailable, "")
}
