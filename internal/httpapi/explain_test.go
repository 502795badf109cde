package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"mintmark/api"
	"mintmark/internal/liveset"

	"github.com/google/go-cmp/cmp"
)

func TestARefusalIsExplainedByTheIdInItsAnswer(t *testing.T) {
	h := newHouse(t)
	a := h.do(request{method: http.MethodGet, path: "/api/v1/tokens", token: h.user.Text.Unsafe()})
	id := h.problem(a).RequestID
	if a.status != http.StatusForbidden || id == "" || id != a.header.Get("X-Request-Id") {
		t.Fatalf("%d, request %q", a.status, id)
	}
	found, err := h.asAdmin().Explain(t.Context(), api.Explain{RequestID: id})
	must(t, err)
	want := &api.Refused{
		RequestID: id, At: h.now().UTC(), Door: "api", From: "127.0.0.1", Reason: liveset.RoleInsufficient.String(), Role: "admin", Tags: []string{}, Audience: []string{},
		Token: api.Said{ID: string(h.user.ID), ClientID: h.user.ClientID, KeyID: string(h.user.KeyID)},
	}
	if diff := cmp.Diff(want, found.Refusal); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}
	for _, f := range found.Items {
		if !f.OK {
			if f.Check != "role" || f.Compared != "user, wanted admin" || f.Advice == "" {
				t.Errorf("the cause is %+v", f)
			}
			break
		}
	}
}

func TestARequestThatIsNotKeptIsSaidToBeSo(t *testing.T) {
	h := newHouse(t)
	_, err := h.asAdmin().Explain(t.Context(), api.Explain{RequestID: "req_of_another_node"})
	if p := refused(t, err); p.Status != http.StatusNotFound || p.Code != "explain.unknown_request" || !strings.Contains(p.Detail, "24 hours") || !strings.Contains(p.Detail, "Each node keeps its own") {
		t.Errorf("%+v", p)
	}
	_, err = h.client(h.user.Text.Unsafe()).Explain(t.Context(), api.Explain{RequestID: "req_of_another_node"})
	if p := refused(t, err); p.Status != http.StatusForbidden {
		t.Errorf("a User is told %+v", p)
	}
}
