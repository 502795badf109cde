package httpapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
)

func statusOfKind() map[authority.Kind]int {
	return map[authority.Kind]int{
		authority.Internal: 500, authority.Invalid: 400, authority.Unauthenticated: 401, authority.Forbidden: 403, authority.StepUp: 403,
		authority.NotFound: 404, authority.Conflict: 409, authority.Throttled: 429, authority.Unavailable: 503, authority.Full: 507,
	}
}

func TestEveryKindOfFailureHasItsStatus(t *testing.T) {
	h := newHouse(t)
	want := statusOfKind()
	for _, kind := range authority.Kinds() {
		t.Run(kind.Error(), func(t *testing.T) {
			cause := errors.New("open /srv/tokens.json: hidden cause")
			for name, fault := range map[string]error{
				"classed": &authority.Error{Kind: kind, Code: "some.code", Msg: "A sentence.", RetryAfter: 90 * time.Second, Err: cause},
				"bare":    fmt.Errorf("%w: %w", kind, cause),
			} {
				h.keySetFault = fault
				a := h.do(request{method: "GET", path: "/.well-known/jwks.json"})
				if a.status != want[kind] {
					t.Errorf("%s: %d, want %d", name, a.status, want[kind])
				}
				if strings.Contains(string(a.body), "hidden cause") {
					t.Errorf("%s: the private cause is told: %s", name, a.body)
				}
				if retries := a.header.Get("Retry-After") != ""; retries != (a.status == 429 || a.status == 503) {
					t.Errorf("%s: Retry-After is %q", name, a.header.Get("Retry-After"))
				}
				if (a.header.Get("WWW-Authenticate") != "") != (a.status == http.StatusUnauthorized) {
					t.Errorf("%s: WWW-Authenticate is %q", name, a.header.Get("WWW-Authenticate"))
				}
				if name == "classed" && kind != authority.Internal && h.problem(a).Code != "some.code" {
					t.Errorf("%s: code %q", name, h.problem(a).Code)
				}
				if logged := strings.Contains(h.log.String(), h.problem(a).RequestID+`","route":"/.well-known/jwks.json","code"`); logged != (a.status >= 500) {
					t.Errorf("%s: logged is %v for %d", name, logged, a.status)
				}
			}
		})
	}
}

func TestAnInternalFailureHidesItsText(t *testing.T) {
	h := newHouse(t)
	h.keySetFault = &authority.Error{Kind: authority.Internal, Code: "inner.code", Msg: "inner words", Err: errors.New("inner cause")}
	a := h.do(request{method: "GET", path: "/.well-known/jwks.json"})
	if p := h.problem(a); a.status != 500 || p.Code != "internal" || strings.Contains(string(a.body), "inner") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if !strings.Contains(h.log.String(), "inner cause") {
		t.Error("the cause is nowhere to be found")
	}
}

func TestTheWaitIsRoundedUpToWholeSeconds(t *testing.T) {
	h := newHouse(t)
	h.keySetFault = &authority.Error{Kind: authority.Throttled, RetryAfter: 1100 * time.Millisecond}
	if a := h.do(request{method: "GET", path: "/.well-known/jwks.json"}); a.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
}
