package httpapi_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

func TestTheUsageOfATokenIsToldOverTheAPI(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.asAdmin(), t.Context()
	token := h.user
	from := liveset.Demand{From: netip.MustParseAddr("10.0.0.1"), Via: netip.MustParseAddr("10.9.9.9"), AnyAudience: true}
	admin := from
	admin.Role = authority.RoleAdmin
	for range 3 {
		h.live.Decide(token.Text.Unsafe(), from)
	}
	h.live.Decide(token.Text.Unsafe(), admin)
	u, err := c.TokenUsage(ctx, token.ID.String())
	must(t, err)
	at, hour := h.now().Truncate(time.Second), h.now().Truncate(time.Hour)
	want := api.TokenUsage{
		AsOf: at, CountedSince: u.CountedSince, Hours: []api.UsageSpan{{Start: hour, Current: 3, Refused: 1}},
		Days:     []api.UsageSpan{{Start: hour.Truncate(24 * time.Hour), Current: 3, Refused: 1}},
		Sources:  []api.UsageSource{{From: "10.0.0.1", Via: "10.9.9.9", KeyID: token.KeyID.String(), First: at, Last: at, Allowed: 3, Refused: 1}},
		Refusals: []api.UsageRefusal{{Reason: "role_insufficient", From: "10.0.0.1", First: at, Last: at, Count: 1}},
	}
	if d := cmp.Diff(want, u); d != "" {
		t.Errorf("usage (-want +got):\n%s", d)
	}
	read, err := c.Token(ctx, token.ID.String())
	must(t, err)
	if read.Requests24h == nil || *read.Requests24h != 3 || read.Reuse != nil {
		t.Errorf("read: %+v", read)
	}
	if p := refused(t, second(c.TokenUsage(ctx, "tok_none"))); p.Code != "token.not_found" {
		t.Errorf("of no token: %+v", p)
	}

	fresh, err := c.ReplaceToken(ctx, token.ID.String(), api.ReplaceToken{Overlap: "0s", RetireWhenSeen: true})
	must(t, err)
	h.keep(fresh.Text.Unsafe())
	h.live.Decide(token.Text.Unsafe(), from)
	read, err = c.Token(ctx, token.ID.String())
	must(t, err)
	if !read.RetireWhenSeen || read.Reuse == nil || read.Reuse.Count != 1 || read.Reuse.From != "10.0.0.1" {
		t.Errorf("after its end: %+v", read.Reuse)
	}
	forged := fresh.Text.Unsafe()[:len(fresh.Text.Unsafe())-4] + "AAAA"
	h.live.Decide(forged, from)
	unknown, err := c.UnknownUsage(ctx)
	must(t, err)
	if len(unknown.Refusals) != 1 || unknown.Refusals[0].Reason != "bad_signature" || unknown.Sources[0].Refused != 1 {
		t.Errorf("of tokens that are not known: %+v", unknown)
	}
	s, err := c.Status(ctx)
	must(t, err)
	if s.Usage.Durable || s.Usage.Problem != "" {
		t.Errorf("status: %+v", s.Usage)
	}
}
