package authority_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"mintmark/internal/authority"
)

// catalogue is a house with one token of every state and some use.
func catalogue(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	old := h.issue(t, authority.TokenRequest{ClientID: "f-revoked", Role: "user"})
	if _, err := h.ResetKeys(t.Context(), operator(), ""); err != nil {
		t.Fatal(err)
	}
	h.advance(time.Second)
	short := h.issue(t, authority.TokenRequest{ClientID: "b-short", Role: "user", Lifetime: 2 * time.Hour, Tags: []string{"team:data"}})
	h.advance(time.Second)
	h.issue(t, authority.TokenRequest{ClientID: "A-admin", Role: "admin", Never: true})
	h.advance(time.Second)
	gone := h.issue(t, authority.TokenRequest{ClientID: "d-gone", Role: "verifier"})
	if _, err := h.RevokeToken(t.Context(), operator(), gone.ID, false); err != nil {
		t.Fatal(err)
	}
	h.advance(time.Second)
	h.issue(t, authority.TokenRequest{ClientID: "c-ended", Role: "user", Lifetime: time.Minute, Tags: []string{"team:data", "env:prod"}})
	h.advance(time.Second)
	h.issue(t, authority.TokenRequest{ClientID: "e-long", Role: "user", Lifetime: 30 * 24 * time.Hour})
	h.advance(time.Hour)
	h.used[short.ID] = authority.Use{At: h.now(), From: "10.0.0.1"}
	h.used[old.ID] = authority.Use{At: h.now().Add(-time.Hour)}
	return h
}

func TestListsAreFilteredAndOrdered(t *testing.T) {
	t.Parallel()
	h := catalogue(t)
	for name, c := range map[string]struct {
		request authority.ListRequest
		want    string // with … at its end: the first ones, for what ties are behind them
	}{
		"all but deleted":      {authority.ListRequest{}, "A-admin b-short c-ended e-long f-revoked"},
		"all are not deleted":  {authority.ListRequest{State: "all"}, "A-admin b-short c-ended e-long f-revoked"},
		"active":               {authority.ListRequest{State: "active"}, "A-admin b-short e-long"},
		"expired":              {authority.ListRequest{State: "expired"}, "c-ended"},
		"deleted":              {authority.ListRequest{State: "deleted"}, "d-gone"},
		"revoked":              {authority.ListRequest{State: "revoked"}, "f-revoked"},
		"role":                 {authority.ListRequest{Role: "admin"}, "A-admin"},
		"tag":                  {authority.ListRequest{Tag: "team:data"}, "b-short c-ended"},
		"client id":            {authority.ListRequest{ClientID: "e-long"}, "e-long"},
		"no such client id":    {authority.ListRequest{ClientID: "e-lon"}, ""},
		"text of a client id":  {authority.ListRequest{Text: "a-AD"}, "A-admin"},
		"text of a tag":        {authority.ListRequest{Text: "env:"}, "c-ended"},
		"ending within a day":  {authority.ListRequest{State: "active", Expiring: 24 * time.Hour}, "b-short"},
		"descending":           {authority.ListRequest{Descending: true}, "f-revoked e-long c-ended b-short A-admin"},
		"by role":              {authority.ListRequest{Sort: "role", State: "active"}, "A-admin …"},
		"by age":               {authority.ListRequest{Sort: "created_at"}, "f-revoked b-short A-admin c-ended e-long"},
		"newest first":         {authority.ListRequest{Sort: "created_at", Descending: true}, "e-long c-ended A-admin b-short f-revoked"},
		"by end, never last":   {authority.ListRequest{Sort: "expires_at"}, "c-ended b-short e-long f-revoked A-admin"},
		"latest end":           {authority.ListRequest{Sort: "expires_at", Descending: true}, "f-revoked e-long b-short c-ended A-admin"},
		"by use, unused last":  {authority.ListRequest{Sort: "last_used_at", State: "active"}, "b-short …"},
		"latest use":           {authority.ListRequest{Sort: "last_used_at", Descending: true}, "b-short f-revoked …"},
		"a page of the others": {authority.ListRequest{Limit: 2}, "A-admin b-short"},
	} {
		list, err := h.Tokens(t.Context(), operator(), c.request)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, item := range list.Items {
			got = append(got, item.ClientID)
		}
		want, first := strings.CutSuffix(c.want, " …")
		if text := strings.Join(got, " "); text != want && !(first && strings.HasPrefix(text, want)) {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
	counts, err := h.TokenCounts(t.Context(), operator())
	if want := (authority.TokenCounts{Active: 3, Expired: 1, Deleted: 1, Revoked: 1, Expiring: 1}); err != nil || counts != want {
		t.Errorf("counts %+v, %v", counts, err)
	}
}

func TestEveryOrderPagesWithoutGapsAndRepeats(t *testing.T) {
	t.Parallel()
	h := catalogue(t)
	for _, sort := range []string{"client_id", "role", "created_at", "expires_at", "last_used_at"} {
		for _, descending := range []bool{false, true} {
			seen := make(map[string]int)
			r := authority.ListRequest{State: "all", Sort: sort, Descending: descending, Limit: 1}
			for range 7 {
				page, err := h.Tokens(t.Context(), operator(), r)
				if err != nil || page.Total != 5 {
					t.Fatalf("%s: %d in all, %v", sort, page.Total, err)
				}
				for _, item := range page.Items {
					seen[item.ClientID]++
				}
				if r.Cursor = page.NextCursor; r.Cursor == "" {
					break
				}
			}
			if len(seen) != 5 {
				t.Errorf("%s: pages gave %v", sort, seen)
			}
		}
	}
}

func TestBadListRequestsNameEveryField(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, err := h.Tokens(t.Context(), operator(), authority.ListRequest{Role: "root", State: "lost", Sort: "secret", Limit: 501})
	wantKind(t, err, authority.Invalid, "request.invalid")
	var codes []string
	for _, f := range classed(t, err).Fields {
		codes = append(codes, f.Code)
	}
	if got := strings.Join(codes, " "); got != "role.unknown state.form sort.unknown limit.range" {
		t.Errorf("codes %s", got)
	}
	for _, limit := range []int{-1, 501} {
		_, err := h.Audit(t.Context(), operator(), authority.AuditQuery{Limit: limit})
		wantKind(t, err, authority.Invalid, "request.invalid")
	}
}

// exact is a store that cannot be asked for texts that no record has, as
// PostgreSQL cannot.
type exact struct{ authority.Store }

func (s exact) View(ctx context.Context, fn func(authority.Tx) error) error {
	return s.Store.View(ctx, func(tx authority.Tx) error { return fn(exactTx{tx}) })
}

type exactTx struct{ authority.Tx }

func (t exactTx) Tokens() authority.TokenTable { return exactTokens{t.Tx.Tokens()} }
func (t exactTx) Audit() authority.AuditTable  { return exactAudit{t.Tx.Audit()} }

type exactTokens struct{ authority.TokenTable }

func (t exactTokens) Find(q authority.TokenQuery) (authority.TokenPage, error) {
	if text := q.Text + q.Tag + q.ClientID; !utf8.ValidString(text) || strings.Contains(text, "\x00") {
		return authority.TokenPage{}, errBroken
	}
	return t.TokenTable.Find(q)
}

type exactAudit struct{ authority.AuditTable }

func (l exactAudit) Page(q authority.AuditQuery) (authority.AuditPage, error) {
	if text := q.Actor + q.Target + q.Action + q.Outcome; !utf8.ValidString(text) || strings.Contains(text, "\x00") {
		return authority.AuditPage{}, errBroken
	}
	return l.AuditTable.Page(q)
}

func TestTextsThatNoRecordCanHaveFindNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	cfg := h.Config
	cfg.Store = exact{h.store}
	a, err := authority.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.issue(t, authority.TokenRequest{ClientID: "a", Role: "user"})
	for _, text := range []string{"a\x00", "\x00", "a\xff", "\xc3"} {
		for _, r := range []authority.ListRequest{{Text: text}, {Tag: text}, {ClientID: text}} {
			if list, err := a.Tokens(t.Context(), operator(), r); err != nil || list.Total+len(list.Items) != 0 || list.TotalIsFloor {
				t.Errorf("%#v: %+v, %v", r, list, err)
			}
		}
		for _, q := range []authority.AuditQuery{{Actor: text}, {Target: text}, {Action: text}, {Action: text + "."}, {Outcome: text}} {
			if page, err := a.Audit(t.Context(), operator(), q); err != nil || len(page.Events) != 0 || page.Next != 0 || page.Total == 0 {
				t.Errorf("%#v: %+v, %v", q, page, err)
			}
		}
		_, err := a.FindToken(t.Context(), operator(), text, false)
		wantKind(t, err, authority.NotFound, "token.not_found")
		_, err = a.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: "b", Role: "user", Audience: []string{text}}, "")
		wantKind(t, err, authority.Invalid, "request.invalid")
	}
}

func TestTheAuditLogIsFilteredAndPaged(t *testing.T) {
	t.Parallel()
	s := newStage(t, true)
	s.advance(time.Minute)
	middle := s.now()
	s.advance(time.Minute)
	_, _ = s.SignIn(t.Context(), nobody(), otherAdmin, secret("wrong password, but long"))
	for name, c := range map[string]struct {
		query authority.AuditQuery
		want  string
	}{
		"all":       {authority.AuditQuery{}, "login.refused login.succeeded admin.created token.deleted token.created token.created store.founded"},
		"action":    {authority.AuditQuery{Action: "token.created"}, "token.created token.created"},
		"group":     {authority.AuditQuery{Action: "token."}, "token.deleted token.created token.created"},
		"target id": {authority.AuditQuery{Target: string(s.gone)}, "token.deleted token.created"},
		"label":     {authority.AuditQuery{Target: "ci"}, "token.created"},
		"actor":     {authority.AuditQuery{Actor: otherAdmin}, "login.succeeded"},
		"outcome":   {authority.AuditQuery{Outcome: authority.OutcomeRefused}, "login.refused"},
		"since":     {authority.AuditQuery{Since: middle}, "login.refused"},
		"until":     {authority.AuditQuery{Until: middle, Action: "login."}, "login.succeeded"},
		"before":    {authority.AuditQuery{Before: 3}, "token.created store.founded"},
		"page":      {authority.AuditQuery{Limit: 2}, "login.refused login.succeeded"},
	} {
		page, err := s.Audit(t.Context(), operator(), c.query)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range page.Events {
			got = append(got, e.Action)
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
}

func TestRecordedChangesKeepTheirTimeAndAuthor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	at := h.now().Add(-time.Hour)
	if err := h.Record(t.Context(), operator(), nil); err != nil {
		t.Fatal(err)
	}
	err := h.Record(t.Context(), operator(), []authority.Recorded{
		{At: at, Actor: authority.Actor{Kind: "admin", Name: otherAdmin}, From: "10.2.0.14", Action: "config.staged", Target: "revision 1"},
		{At: at, Action: "config.applied", Target: "revision 2", Detail: map[string]string{"a": "b"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := h.Audit(t.Context(), operator(), authority.AuditQuery{Action: "config."})
	if err != nil || len(page.Events) != 2 {
		t.Fatalf("got %+v, %v", page.Events, err)
	}
	e := page.Events[1]
	if !e.At.Equal(at) || e.Actor.Name != otherAdmin || e.From != "10.2.0.14" || e.Outcome != authority.OutcomeOK || page.Events[0].Detail["a"] != "b" {
		t.Errorf("got %+v", page.Events)
	}
}

func TestSourcesAreForgottenNotHeldForEver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	wrong := secret("0000")
	code, err := h.OpenSetup(t.Context(), operator())
	if err != nil {
		t.Fatal(err)
	}
	// A flood of sources neither grows without bound nor keeps others out.
	for i := range 10_050 {
		from := authority.Nobody(authority.Origin{From: fmt.Sprintf("10.%d.%d.1", i/256, i%256)})
		if _, err := h.CompleteSetup(t.Context(), from, wrong, "admin", secret(goodPassword)); authority.KindOf(err) != authority.Unauthenticated {
			t.Fatalf("source %d: %v", i, err)
		}
	}
	if _, err := h.CompleteSetup(t.Context(), nobody(), code, "admin", secret(goodPassword)); err != nil {
		t.Error(err)
	}
}
