package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"mintmark/api"
	"mintmark/internal/authority"
)

func TestAKeyIsRotatedOverTheAPI(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.asAdmin(), t.Context()
	stays, goes := h.issue(authority.TokenRequest{ClientID: "stays", Role: "user"}), h.issue(authority.TokenRequest{ClientID: "goes", Role: "user", Contact: "ops@example.org"})
	whoami := func(text string) error {
		t.Helper()
		_, err := h.client(text).Whoami(ctx)
		return err
	}
	login := h.signIn().Token.Unsafe()

	h.advance(time.Minute)
	done, err := c.RotateKeys(ctx, api.RotateKeys{Reason: "scheduled"})
	must(t, err)
	until := h.now().Truncate(time.Second).Add(14 * 24 * time.Hour)
	if done.Current.Name != "key_2026b" || done.Previous.Name != "key_2026a" || done.Next.Name != "key_2026c" || !done.Previous.Until.Equal(until) || done.Previous.Reason != "scheduled" {
		t.Errorf("rotated %+v", done)
	}
	if !strings.Contains(done.Warning, "key_2026b was published 1m0s ago") {
		t.Errorf("the warning is %q", done.Warning)
	}
	if p := refused(t, second(c.RotateKeys(ctx, api.RotateKeys{Overlap: "1h"}))); p.Code != "key.rotating" || p.Status != http.StatusConflict || !strings.Contains(p.Detail, "key_2026a is accepted until") {
		t.Errorf("a second rotation: %+v", p)
	}

	h.advance(20 * time.Minute)
	must(t, whoami(stays.Text.Unsafe()))
	moved, err := c.RevealToken(ctx, goes.ID.String())
	must(t, err)
	h.keep(moved.Text.Unsafe())
	if moved.ID != goes.ID.String() || moved.KeyID != done.Current.ID {
		t.Errorf("the copy is %+v", moved.Token)
	}
	must(t, whoami(moved.Text.Unsafe()))
	_, err = c.MarkContacted(ctx, stays.ID.String(), api.MarkContacted{Note: "by mail"})
	must(t, err)
	h.advance(time.Second)
	e, err := c.Evidence(ctx, "key_2026a", api.EvidenceQuery{})
	must(t, err)
	states := make(map[string]api.TokenEvidence)
	for _, row := range e.Items {
		states[row.Token.ClientID] = row
	}
	seen := h.now().Truncate(time.Second).Add(-time.Second)
	if row := states["stays"]; row.State != "not_moved" || row.Current != nil || row.Under == nil || !row.Under.Last.Equal(seen) || row.Under.From != "127.0.0.1" ||
		row.Token.Contacted == nil || row.Token.Contacted.Note != "by mail" || row.Token.Contacted.By != "root-script" {
		t.Errorf("stays: %+v", row)
	}
	if row := states["goes"]; row.State != "moved" || row.Under != nil || row.Current == nil || row.Token.Contact != "ops@example.org" {
		t.Errorf("goes: %+v", row)
	}
	// root-script, who asks, has not moved, either; dfsadmin and gateway never came.
	if e.NotMoved != 2 || e.Moved != 1 || e.Silent != 2 || e.Mixed != 0 || e.Logins != 1 || e.Key.Name != "key_2026a" || e.Current.Name != "key_2026b" || e.LastUsedAt == nil || len(e.Items) != 5 {
		t.Errorf("evidence %+v", e)
	}
	if e, err = c.Evidence(ctx, done.Previous.ID, api.EvidenceQuery{State: "not_moved", Limit: 1}); err != nil || len(e.Items) != 1 || e.Items[0].State != "not_moved" || e.NotMoved != 2 {
		t.Errorf("narrowed: %+v, %v", e, err)
	}

	admin := h.client(login) // the script's own token is under the old key
	k, err := admin.TrialStop(ctx, "key_2026a", api.TrialStop{})
	must(t, err)
	if k.TrialUntil == nil || !k.TrialUntil.Equal(h.now().Truncate(time.Second).Add(15*time.Minute)) {
		t.Errorf("on trial %+v", k)
	}
	if p := refused(t, whoami(stays.Text.Unsafe())); p.Code != api.CodeTokenInvalid || p.Detail != "Invalid token." {
		t.Errorf("on trial a client is told %+v", p)
	}
	must(t, whoami(moved.Text.Unsafe()))
	e, err = admin.Evidence(ctx, "key_2026a", api.EvidenceQuery{State: "not_moved"})
	must(t, err)
	for _, row := range e.Items {
		if want := uint64(0); row.Token.ClientID == "stays" && (row.TrialRefusals != 1 || row.TrialRefusedLast == nil) || row.Token.ClientID != "stays" && row.TrialRefusals != want {
			t.Errorf("refused on trial: %+v", row)
		}
	}
	_, err = admin.EndTrial(ctx, "key_2026a")
	must(t, err)
	must(t, whoami(stays.Text.Unsafe()))

	k, err = c.ExtendKey(ctx, "key_2026a", api.ExtendKey{By: "7d"})
	must(t, err)
	if !k.Until.Equal(until.Add(7 * 24 * time.Hour)) {
		t.Errorf("extended to %v", k.Until)
	}
	k, err = c.ExtendKey(ctx, "key_2026a", api.ExtendKey{Until: until.Add(8 * 24 * time.Hour).Format(time.RFC3339)})
	must(t, err)
	if !k.Until.Equal(until.Add(8 * 24 * time.Hour)) {
		t.Errorf("extended to %v", k.Until)
	}
	admin = h.client(h.signIn().Token.Unsafe()) // retiring asks for a password of late, and for a login that is not under the key
	for range 2 {
		k, err = admin.RetireKey(ctx, "key_2026a")
		must(t, err)
		if k.State != "retired" || k.Until != nil {
			t.Errorf("retired %+v", k)
		}
	}
	for _, text := range []string{stays.Text.Unsafe(), h.admin.Text.Unsafe(), login} {
		if p := refused(t, whoami(text)); p.Code != api.CodeTokenInvalid {
			t.Errorf("after the overlap: %+v", p)
		}
	}
	must(t, whoami(moved.Text.Unsafe()))
}

func second[T any](_ T, err error) error { return err }

func TestARotationIsRefusedWithTheMemberAtFault(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.asAdmin(), t.Context()
	_, err := c.RotateKeys(ctx, api.RotateKeys{Overlap: "1d"})
	must(t, err)
	for want, err := range map[string]error{
		"overlap.none":    second(c.RotateKeys(ctx, api.RotateKeys{Overlap: "0s"})),
		"overlap.form":    second(c.RotateKeys(ctx, api.RotateKeys{Overlap: "soon"})),
		"overlap.range":   second(c.RotateKeys(ctx, api.RotateKeys{Overlap: "366d"})),
		"until.once":      second(c.ExtendKey(ctx, "key_2026a", api.ExtendKey{})),
		"until.form":      second(c.ExtendKey(ctx, "key_2026a", api.ExtendKey{Until: "tomorrow"})),
		"until.range":     second(c.ExtendKey(ctx, "key_2026a", api.ExtendKey{By: "400d"})),
		"by.form":         second(c.ExtendKey(ctx, "key_2026a", api.ExtendKey{By: "-1d"})),
		"duration.range":  second(c.TrialStop(ctx, "key_2026a", api.TrialStop{Duration: "25h"})),
		"duration.form":   second(c.TrialStop(ctx, "key_2026a", api.TrialStop{Duration: "x"})),
		"state.form":      second(c.Evidence(ctx, "key_2026a", api.EvidenceQuery{State: "away"})),
		"limit.range":     second(c.Evidence(ctx, "key_2026a", api.EvidenceQuery{Limit: 5001})),
		"note.characters": second(c.MarkContacted(ctx, h.user.ID.String(), api.MarkContacted{Note: "a\x07"})),
	} {
		if p := refused(t, err); p.Code != "request.invalid" || len(p.Fields) != 1 || p.Fields[0].Code != want {
			t.Errorf("want %s, got %+v", want, p)
		}
	}
	for key, want := range map[string]string{"key_2026b": "key.not_previous", "key_2026c": "key.not_previous", "key_1999a": "key.not_found"} {
		for what, err := range map[string]error{
			"extend": second(c.ExtendKey(ctx, key, api.ExtendKey{Until: h.now().Add(time.Hour).Format(time.RFC3339)})),
			"trial":  second(c.TrialStop(ctx, key, api.TrialStop{})), "end": second(c.EndTrial(ctx, key)), "retire": second(c.RetireKey(ctx, key)),
		} {
			if p := refused(t, err); p.Code != want {
				t.Errorf("%s %s: %+v", what, key, p)
			}
		}
	}
	if p := refused(t, second(c.Evidence(ctx, "key_1999a", api.EvidenceQuery{}))); p.Code != "key.not_found" {
		t.Errorf("evidence: %+v", p)
	}
}

func TestATokenIsReplacedOverTheAPI(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.asAdmin(), t.Context()
	old := h.user
	fresh, err := c.ReplaceToken(ctx, old.ID.String(), api.ReplaceToken{})
	must(t, err)
	h.keep(fresh.Text.Unsafe())
	read, err := c.Token(ctx, old.ID.String())
	must(t, err)
	end := h.now().Truncate(time.Second).Add(24 * time.Hour)
	if fresh.Replaces != old.ID.String() || fresh.ClientID != "dfsadmin" || read.ReplacedBy != fresh.ID || read.EndsAt == nil || !read.EndsAt.Equal(end) || read.State != "active" {
		t.Errorf("the successor %+v of %+v", fresh.Token, read)
	}
	if p := refused(t, second(c.ReplaceToken(ctx, old.ID.String(), api.ReplaceToken{}))); p.Code != "token.replaced" || !strings.Contains(p.Detail, fresh.ID) {
		t.Errorf("replaced again: %+v", p)
	}
	read, err = c.UndoReplace(ctx, old.ID.String())
	must(t, err)
	if read.ReplacedBy != "" || read.EndsAt != nil {
		t.Errorf("undone: %+v", read)
	}
	if _, err := h.client(fresh.Text.Unsafe()).Whoami(ctx); refused(t, err).Code != api.CodeTokenInvalid {
		t.Errorf("the successor after that: %v", err)
	}
	fresh, err = c.ReplaceToken(ctx, old.ID.String(), api.ReplaceToken{Overlap: "0s"})
	must(t, err)
	h.keep(fresh.Text.Unsafe())
	if _, err := h.client(old.Text.Unsafe()).Whoami(ctx); refused(t, err).Code != api.CodeTokenInvalid {
		t.Errorf("the old token: %v", err)
	}
	_, err = h.client(fresh.Text.Unsafe()).Whoami(ctx)
	must(t, err)
	if list, err := c.Tokens(ctx, api.TokenQuery{State: "replaced"}); err != nil || len(list.Items) != 1 || list.Items[0].ID != old.ID.String() {
		t.Errorf("the list of those replaced: %+v, %v", list, err)
	}
	if p := refused(t, second(c.ReplaceToken(ctx, fresh.ID, api.ReplaceToken{Overlap: "91d"}))); p.Fields[0].Code != "overlap.range" {
		t.Errorf("a long overlap: %+v", p)
	}
	for what, err := range map[string]error{
		"undo": second(c.UndoReplace(ctx, old.ID.String())), "restore": second(c.RestoreToken(ctx, old.ID.String())), "reveal": second(c.RevealToken(ctx, old.ID.String())),
	} {
		if p := refused(t, err); p.Code != "token.replaced" {
			t.Errorf("%s: %+v", what, p)
		}
	}
}
