package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
)

func (d *doors) revoke(asker authority.Issued, token string) told {
	d.t.Helper()
	return d.post("/oauth2/revoke", tokenForm(token)+"&token_type_hint=refresh_token", as(asker))
}

// lives reports whether a token is good at the doors.
func (d *doors) lives(i authority.Issued) bool {
	d.t.Helper()
	view, err := d.rules.Token(d.t.Context(), operator(), i.ID)
	must(d.t, err)
	active := strings.HasPrefix(d.introspect(d.admin, i.Text.Unsafe()).body, `{"active":true`)
	if known := view.State == authority.StateActive; known != active && i.Role != authority.RoleVerifier {
		d.t.Errorf("the record of %s is %s, and it introspects to active: %v", i.ClientID, view.State, active)
	}
	return view.State == authority.StateActive
}

func TestATokenIsEndedByItsOwnerOrAnAdmin(t *testing.T) {
	const elsewhere = "https://elsewhere.example"
	for name, c := range map[string]struct {
		asker, token authority.TokenRequest // an asker without a role is the token itself
		ended        bool
	}{
		"itself":                              {authority.TokenRequest{}, authority.TokenRequest{ClientID: "ci", Role: "user"}, true},
		"itself, for others":                  {authority.TokenRequest{}, authority.TokenRequest{ClientID: "ci", Role: "user", Audience: []string{elsewhere}}, true},
		"itself, a Verifier":                  {authority.TokenRequest{}, authority.TokenRequest{ClientID: "ci", Role: "verifier"}, true},
		"its sister":                          {authority.TokenRequest{ClientID: "ci", Role: "user"}, authority.TokenRequest{ClientID: "ci", Role: "admin"}, true},
		"its sister that is bound":            {authority.TokenRequest{ClientID: "ci", Role: "user"}, authority.TokenRequest{ClientID: "ci", Role: "user", AllowedAddresses: []string{"10.0.0.1/32"}}, true},
		"another, by a User":                  {authority.TokenRequest{ClientID: "ci", Role: "user"}, authority.TokenRequest{ClientID: "cd", Role: "user"}, false},
		"another, by a Verifier":              {authority.TokenRequest{ClientID: "ci", Role: "verifier"}, authority.TokenRequest{ClientID: "cd", Role: "user"}, false},
		"another, by an Admin":                {authority.TokenRequest{ClientID: "ci", Role: "admin"}, authority.TokenRequest{ClientID: "cd", Role: "user"}, true},
		"another, for others, by an Admin":    {authority.TokenRequest{ClientID: "ci", Role: "admin"}, authority.TokenRequest{ClientID: "cd", Role: "user", Audience: []string{elsewhere}}, true},
		"another, by an Admin elsewhere":      {authority.TokenRequest{ClientID: "ci", Role: "admin", Audience: []string{elsewhere}}, authority.TokenRequest{ClientID: "cd", Role: "user"}, false},
		"its sister, by an Admin elsewhere":   {authority.TokenRequest{ClientID: "ci", Role: "admin", Audience: []string{elsewhere}}, authority.TokenRequest{ClientID: "ci", Role: "user"}, true},
		"one whose client ID begins the same": {authority.TokenRequest{ClientID: "ci", Role: "user"}, authority.TokenRequest{ClientID: "ci2", Role: "user"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoors(t)
			token := d.issue(c.token)
			asker := token
			if c.asker.Role != "" {
				asker = d.issue(c.asker)
			}
			if a := d.revoke(asker, token.Text.Unsafe()); !a.is(http.StatusOK, "") {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if d.lives(token) == c.ended {
				t.Errorf("the token lives: %v", !c.ended)
			}
			if asker.ID != token.ID && !d.lives(asker) {
				t.Error("the asker's own token has ended")
			}
			page, err := d.rules.Audit(t.Context(), operator(), authority.AuditQuery{Action: "token.deleted"})
			must(t, err)
			if ended := len(page.Events) == 1; ended != c.ended || len(page.Events) > 1 {
				t.Fatalf("%d events", len(page.Events))
			}
			if c.ended {
				if e := page.Events[0]; e.Target != string(token.ID) || e.Actor.Name != asker.ClientID || e.Actor.Kind != "token" || e.From != "192.0.2.1" || e.RequestID != "req_1" {
					t.Errorf("event %+v", e)
				}
			}
		})
	}
}

func TestTheOperatorAndALoginEndAnyToken(t *testing.T) {
	d := newDoors(t)
	login := http.Header{"Authorization": {"Bearer " + d.login()}, "Content-Type": {formMedia}}
	one, other := d.issue(authority.TokenRequest{ClientID: "ci", Role: "user"}), d.issue(authority.TokenRequest{ClientID: "cd", Role: "user"})
	if a := d.post("/oauth2/revoke", tokenForm(one.Text.Unsafe()), login); a.status != http.StatusOK || d.lives(one) {
		t.Errorf("a login: %d %s", a.status, a.body)
	}
	d.operator = "root@tokens-01"
	if a := d.post("/oauth2/revoke", tokenForm(other.Text.Unsafe()), http.Header{"Content-Type": {formMedia}}); a.status != http.StatusOK || d.lives(other) {
		t.Errorf("the operator: %d %s", a.status, a.body)
	}
}

// Whatever is no token, or not the asker's, is answered like one that was ended:
// nobody learns which tokens there are.
func TestAllRevocationsReadAlike(t *testing.T) {
	d := newDoors(t)
	bad := d.badTokens()
	own := d.issue(authority.TokenRequest{ClientID: "dfsadmin", Role: "user"})
	want := d.revoke(d.user, own.Text.Unsafe())
	if !want.is(http.StatusOK, "") || d.lives(own) {
		t.Fatalf("%d %s", want.status, want.body)
	}
	for name, text := range bad {
		wantSame(t, name, want, d.revoke(d.user, text))
	}
	wantSame(t, "again", want, d.revoke(d.user, own.Text.Unsafe()))
	wantSame(t, "another's", want, d.revoke(d.user, d.admin.Text.Unsafe()))
	if !d.lives(d.admin) || !d.lives(d.verifier) {
		t.Error("a token of another client ID has ended")
	}
	// A text that only looks like the token ends nothing.
	text := d.user.Text.Unsafe()
	wantSame(t, "forged", want, d.revoke(d.admin, text[:len(text)-8]+"AAAAAAAA"))
	if !d.lives(d.user) {
		t.Error("a forged text has ended the token")
	}
}

func TestARevocationThatMayNotLastIsNotConfirmed(t *testing.T) {
	d := newDoors(t)
	good := d.rules
	d.rules = d.cramped(t)
	for name, asker := range map[string]authority.Issued{"owner": d.user, "admin": d.admin} {
		a := d.revoke(asker, d.user.Text.Unsafe())
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "5" || a.oauthError(t) != "temporarily_unavailable" {
			t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
		}
		if strings.Contains(a.body, "space") {
			t.Errorf("%s is told of the disk: %s", name, a.body)
		}
	}
	if text := d.log.String(); strings.Count(text, "revocation failed") != 2 || !strings.Contains(text, "no space left on device") {
		t.Errorf("logged %s", text)
	}
	d.rules = good
	if !d.lives(d.user) {
		t.Error("the token has ended")
	}
}

// Whom a trial stop refuses is accepted again later, so a token that is ended
// meanwhile has to be ended.
func TestATokenIsEndedDuringATrialStopAndNotUsedByThat(t *testing.T) {
	d := newDoors(t)
	old := d.issue(authority.TokenRequest{ClientID: "ci", Role: "user"})
	rotated, err := d.rules.RotateKey(t.Context(), operator(), authority.RotateRequest{Overlap: 24 * time.Hour})
	must(t, err)
	_, err = d.rules.TrialStop(t.Context(), operator(), rotated.Previous.ID.String(), 15*time.Minute)
	must(t, err)
	own := d.issue(authority.TokenRequest{ClientID: "ci", Role: "user"}) // under the current key
	if a := d.introspect(own, old.Text.Unsafe()); strings.Contains(a.body, `"active":true`) {
		t.Fatalf("there is no trial: %s", a.body)
	}
	if a := d.revoke(own, old.Text.Unsafe()); !a.is(http.StatusOK, "") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	view, err := d.rules.Token(t.Context(), operator(), old.ID)
	must(t, err)
	if view.State != authority.StateDeleted || !view.LastUse.At.IsZero() {
		t.Errorf("the token is %s, last used %v", view.State, view.LastUse.At)
	}
}
