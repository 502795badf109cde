package httpapi_test

import (
	"net/http"
	"testing"

	"mintmark/api"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestAPreviewIsTheRecordOfACreateAndMakesNothing(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.asAdmin(), t.Context()
	in := api.CreateToken{ClientID: "ingest", Role: "user", Tags: []string{"team:data"}, Lifetime: "90d", AllowedAddresses: []string{"10.2.0.0/16"}}
	before, err := c.Tokens(ctx, api.TokenQuery{})
	must(t, err)
	log, err := c.Audit(ctx, api.EventQuery{})
	must(t, err)
	preview, err := c.PreviewToken(ctx, in)
	must(t, err)
	after, err := c.Tokens(ctx, api.TokenQuery{})
	must(t, err)
	if diff := cmp.Diff(before.Total, after.Total); diff != "" {
		t.Errorf("tokens (-before +after):\n%s", diff)
	}
	if again, err := c.Audit(ctx, api.EventQuery{}); err != nil || again.Total != log.Total {
		t.Errorf("the audit log grew from %d to %d, %v", log.Total, again.Total, err)
	}
	made, err := c.CreateToken(ctx, in, "")
	must(t, err)
	h.keep(made.Text.Unsafe())
	if diff := cmp.Diff(made.Token, preview, cmpopts.IgnoreFields(api.Token{}, "ID", "KeyID")); diff != "" {
		t.Errorf("(-made +preview):\n%s", diff)
	}
	if preview.ID != "" || preview.KeyID != "" {
		t.Errorf("a preview has the id %q and the key %q", preview.ID, preview.KeyID)
	}
	_, made2 := c.CreateToken(ctx, api.CreateToken{ClientID: "", Role: "boss"}, "")
	_, looked := c.PreviewToken(ctx, api.CreateToken{ClientID: "", Role: "boss"})
	if diff := cmp.Diff(refused(t, made2).Fields, refused(t, looked).Fields); diff != "" || refused(t, looked).Status != http.StatusBadRequest {
		t.Errorf("faults of a create and of its preview (-create +preview):\n%s", diff)
	}
}
