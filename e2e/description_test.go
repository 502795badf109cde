package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// description is the published OpenAPI document, read by somebody else's reader.
type description struct{ router routers.Router }

// describedBy checks a document and makes it strict: an answer may have no member
// that it does not name.
func describedBy(t *testing.T, text string) *description {
	t.Helper()
	openapi3filter.RegisterBodyDecoder("application/jwk-set+json", openapi3filter.JSONBodyDecoder)
	if err := openDescription(t, []byte(text)).Validate(t.Context()); err != nil {
		t.Fatalf("the description is not OpenAPI 3.1: %v", err)
	}
	var document map[string]any
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	components, _ := document["components"].(map[string]any)
	schemas, _ := components["schemas"].(map[string]any)
	for _, s := range schemas {
		if schema, _ := s.(map[string]any); schema["additionalProperties"] == nil {
			schema["additionalProperties"] = false
		}
	}
	strict, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(openDescription(t, strict))
	if err != nil {
		t.Fatal(err)
	}
	return &description{router}
}

func openDescription(t *testing.T, text []byte) *openapi3.T {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if !document.IsOpenAPI31OrLater() {
		t.Fatalf("the description is OpenAPI %s", document.OpenAPI)
	}
	return document
}

// holds fails the test when the document does not describe an answer, or does not
// allow a request that was answered well.
func (d *description) holds(t *testing.T, r *http.Request, body string, a answer) {
	t.Helper()
	route, parameters, err := d.router.FindRoute(r)
	if err != nil {
		var problem struct{ Code string }
		if json.Unmarshal([]byte(a.body), &problem) != nil || problem.Code != "path.not_found" && problem.Code != "method.not_allowed" {
			t.Errorf("%s %s is not described (%v) and answers %d", r.Method, r.URL.Path, err, a.status)
		}
		return
	}
	r.Body = io.NopCloser(strings.NewReader(body))
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if a.status < 300 {
		if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
			t.Errorf("%s %s was answered with %d and is not described: %v", r.Method, r.URL, a.status, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader([]byte(a.body))),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
		t.Errorf("%s %s answers %d, which is not described: %v\n%s", r.Method, r.URL.Path, a.status, err, a.body)
	}
}

// exchange sends a request and reads the whole answer.
func exchange(t *testing.T, client *http.Client, r *http.Request) answer {
	t.Helper()
	in, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	defer func() { _ = in.Body.Close() }()
	body, err := io.ReadAll(in.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{in.StatusCode, in.Header, string(body)}
}

// The reader is not blind: it finds what is wrong in an answer.
func TestADescriptionRefusesWhatItDoesNotDescribe(t *testing.T) {
	home := startHome(t)
	c := newCaller(t, home, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
	good := c.do("GET", "/healthz", "")
	for name, spoil := range map[string]func(*answer){
		"nothing":           func(*answer) {},
		"another status":    func(a *answer) { a.status = 418 },
		"another type":      func(a *answer) { a.header.Set("Content-Type", "text/html") },
		"an unknown member": func(a *answer) { a.body = `{"status":"ok","more":1}` },
		"a missing member":  func(a *answer) { a.body = `{}` },
		"another JSON type": func(a *answer) { a.body = `{"status":1}` },
		"a missing field":   func(a *answer) { a.header.Del("X-Request-Id") },
		"an unknown refusal": func(a *answer) {
			a.status, a.body = 500, `{"type":"about:blank","title":"x","status":500,"code":"x.y"}`
			a.header.Set("Content-Type", "application/problem+json")
		},
		"a status that lies": func(a *answer) {
			a.status, a.body = 500, `{"type":"about:blank","title":"x","status":400,"code":"internal"}`
			a.header.Set("Content-Type", "application/problem+json")
		},
	} {
		a := answer{good.status, good.header.Clone(), good.body}
		spoil(&a)
		r, err := http.NewRequestWithContext(t.Context(), "GET", home.url+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		var quiet testing.T
		c.description.holds(&quiet, r, "", a)
		if quiet.Failed() == (name == "nothing") {
			t.Errorf("%s: noticed is %v", name, quiet.Failed())
		}
	}
}
