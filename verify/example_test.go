package verify_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"mintmark/verify"
)

// A service that must be fast and can live with a token that was deleted some
// minutes ago checks signatures by itself.
func ExampleNewOffline() {
	v, err := verify.NewOffline(verify.OfflineConfig{
		Issuer:   "https://tokens.example",
		Audience: []string{"https://api.example"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("GET /reports", verify.Require(v, verify.Demand{})(http.HandlerFunc(reports)))
	mux.Handle("DELETE /reports", verify.Require(v, verify.Demand{Role: "admin"})(http.HandlerFunc(reports)))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/reports", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output: 401 Bearer realm="mintmark"
}

// A service that must refuse a deleted token at once asks the authority. It may
// use an answer again for as long as it can live with.
func ExampleNewOnline() {
	v, err := verify.NewOnline(verify.OnlineConfig{
		URL:      "https://tokens.example/oauth2/introspect",
		Token:    verifierToken,
		Audience: []string{"https://api.example"},
		Remember: 2 * time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := verify.Require(v, verify.Demand{Tags: []string{"team:data"}})(http.HandlerFunc(reports))
	r := httptest.NewRequest("GET", "/reports?access_token=eyJ", nil) // a token does not belong in an address
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output: 400
}

// Both refuse to be made without what they would have to check.
func ExampleNewOnline_incomplete() {
	_, err := verify.NewOnline(verify.OnlineConfig{URL: "https://tokens.example/oauth2/introspect", Token: verifierToken})
	fmt.Println(err)
	// Output: verify: a verifier token and an audience are needed: a check is never skipped
}

// A handler is tested without an authority.
func ExampleNewContext() {
	r := httptest.NewRequest("GET", "/reports", nil)
	r = r.WithContext(verify.NewContext(r.Context(), verify.Identity{ClientID: "nightly", Role: "user"}))
	w := httptest.NewRecorder()
	reports(w, r)
	fmt.Println(w.Body)
	// Output: reports for nightly
}

func reports(w http.ResponseWriter, r *http.Request) {
	who, _ := verify.FromContext(r.Context())
	fmt.Fprintf(w, "reports for %s", who.ClientID)
}

// verifierToken reads the service's own token each time, so that it can be
// replaced without a restart.
func verifierToken() string {
	text, err := os.ReadFile("/run/secrets/verifier-token")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
