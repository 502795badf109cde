package conformance_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
	"mintmark/internal/limits"
	"mintmark/internal/liveset"
	"mintmark/internal/refusals"
)

// way is one in which a token is refused, and what explains it.
type way struct {
	state  string // of the matrix, or of more
	at     string // the door that refuses so; "": every one that refuses
	reason liveset.Reason
	check  string
	advice string // a part of it
}

const (
	byItself = "header, signed by the key itself/"
	claimed  = "claims, signed by the key itself/"
	recorded = "claims that differ from the record/"
)

func ways() []way {
	return []way{
		{"sending/no credential", "", liveset.NoCredential, "credential", "Authorization: Bearer"},
		{"sending/the scheme Basic", "", liveset.NoCredential, "credential", "Authorization: Bearer"},
		{"sending/two fields", "", liveset.NoCredential, "credential", "Authorization: Bearer"},
		{"sending/in the query", "", liveset.NoCredential, "credential", "Authorization: Bearer"},
		{"form/a word", "", liveset.Malformed, "form", "Copy the token again"},
		{"form/its last four characters missing", "", liveset.Malformed, "form", "Copy the token again"},
		{"form/two parts", "", liveset.Malformed, "form", "Copy the token again"},
		{"form/padded", "", liveset.Malformed, "form", "Copy the token again"},
		{"form/more than 8 KiB", "", liveset.TooLarge, "form", "Copy the token again"},
		{byItself + "alg none", "", liveset.AlgorithmRefused, "form", "not signed by this server"},
		{byItself + "alg of another kind of key", "", liveset.AlgorithmRefused, "signature", "not signed by this server"},
		{byItself + "kid unknown", "", liveset.UnknownKey, "key", "Another server signed"},
		{byItself + "no kid", "", liveset.Malformed, "form", "Copy the token again"},
		{byItself + "typ JWT", "", liveset.WrongType, "type", "not interchangeable"},
		{byItself + "jku", "", liveset.Malformed, "form", "Copy the token again"},
		{"signature/by the key that is next", "", liveset.UnknownKey, "key", "Another server signed"},
		{"signature/by somebody else's key", "", liveset.BadSignature, "signature", "not signed by this server"},
		{"signature/one bit flipped", "", liveset.BadSignature, "signature", "not signed by this server"},
		{claimed + "exp as text", "", liveset.BadClaims, "claims", "Copy the token again"},
		{claimed + "iss of another", "", liveset.WrongIssuer, "issuer", "another issuer"},
		{claimed + "nbf in an hour", "", liveset.NotYetValid, "time", "Check the clocks"},
		{recorded + "role admin", "", liveset.Mismatch, "record", "differs from its record"},
		{recorded + "jti of no token", "", liveset.UnknownToken, "live set", "no such token here"},
		{"life/deleted", "", liveset.Deleted, "live set", "Restore it while"},
		{"life/deleted for good", "", liveset.Deleted, "live set", "Restore it while"},
		{"life/deleted long ago", "", liveset.Deleted, "live set", "Restore it while"},
		{"life/at its end", "", liveset.Expired, "live set", "its end has passed"},
		{"life/from before a reset", "", liveset.RetiredKey, "key", "reate a new"},
		{"life/while the clock is back by an hour", "", liveset.NotYetValid, "time", "Check the clocks"},
		{"life/while the state of the node is unknown", "", liveset.StateUnknown, "state", "Look at its status"},
		{"rotation/under the previous key, when the overlap ends", "", liveset.RetiredKey, "key", "to have it under the current key"},
		{"rotation/under a retired key", "", liveset.RetiredKey, "key", "to have it under the current key"},
		{"rotation/under a key on a trial stop", "", liveset.TrialStopped, "trial", "will be accepted again"},
		{"rotation/replaced, when the overlap ends", "", liveset.Replaced, "live set", "Copy the successor"},
		{"login tokens/of a signed-in administrator", "", liveset.WrongType, "type", "not interchangeable"},
		{"login tokens/after the sign-out", "own API", liveset.SignedOut, "live set", "Sign in again"},
		{"login tokens/not used for longer than allowed", "own API", liveset.Idle, "live set", "Sign in again"},
		{"login tokens/at its end", "own API", liveset.Expired, "live set", "its end has passed"},
		{"demands/a User's where an Admin is wanted", "", liveset.RoleInsufficient, "role", "another role"},
		{"demands/a Verifier's", "", liveset.RoleInsufficient, "role", "another role"},
		{"demands/without the tag that is wanted", "", liveset.TagMissing, "tags", "a tag that the token does not have"},
		{"demands/of another client", "", liveset.ClientIDNotAllowed, "client", "another client ID"},
		{"demands/for another of our audiences", "", liveset.WrongAudience, "audience", "another audience"},
		{"demands/for nobody here", "", liveset.WrongAudience, "audience", "another audience"},
		{"demands/from another address", "", liveset.AddressNotAllowed, "address", "an address that the token does not allow"},
		{"more/of an earlier generation, under the new key", "", liveset.Revoked, "live set", "Create a new token"},
		{"more/of a record with another issuer", "", liveset.WrongIssuer, "issuer", "another issuer"},
		{"more/a demand that no token meets", "", liveset.DemandInvalid, "demand", "Correct its query"},
		{"more/too many from one address", "", liveset.TooMany, "limit", "Ask less often"},
	}
}

// moreStates are not of the matrix: not every door has them.
func moreStates() []state {
	return []state{
		{group: "more", name: "of an earlier generation, under the new key", ask: func(h *house) question {
			i := h.user()
			h.reset()
			kid := h.kid(authority.KeyCurrent)
			_, payload, _ := parts(i.Text.Unsafe())
			return question{token: h.sign(h.key(kid), fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, h.alg, kid), plain(payload)), id: string(i.ID)}
		}},
		{group: "more", name: "of a record with another issuer", ask: func(h *house) question {
			q := signedIn(h)
			kid := h.kid(authority.KeyCurrent)
			header, payload, _ := parts(q.token)
			q.token = h.sign(h.key(kid), plain(header), claim("iss", `"https://evil.example"`)(plain(payload)))
			return q
		}},
		{group: "more", name: "a demand that no token meets", ask: func(h *house) question {
			q := asItIs(h)
			q.demand.role = "root"
			return q
		}},
		{group: "more", name: "too many from one address", ask: func(h *house) question {
			h.rate.Store(&limits.Rate{Events: 1, Window: time.Hour, Burst: 1})
			q := asItIs(h)
			h.askForwardAuth(q)
			return q
		}},
	}
}

// doorsThatKeep are the names under which doors keep what they refuse.
func doorsThatKeep() map[string]string {
	return map[string]string{
		"forward-auth": "forward_auth", "ext_authz": "ext_authz", "guard": "guard", "introspection": "introspection", "TokenReview": "kubernetes", "own API": "api",
	}
}

// send asks a door and answers what the client is told.
func (h *house) send(door string, q question) *httptest.ResponseRecorder {
	h.t.Helper()
	all := h.askers.Load()
	_, as := h.recipients(q, all)
	switch door {
	case "forward-auth":
		return do(h.node, q.forwardAuth())
	case "guard":
		return do(h.guard, q.guarded())
	case "own API":
		return do(h.node, q.ownCall())
	case "introspection":
		return do(h.node, h.form("/oauth2/introspect", q.token, as))
	case "TokenReview":
		return do(h.node, h.review(q, all.all))
	case "ext_authz":
		answer, err := h.check(q)
		must(h.t, err)
		if answer.GetOkResponse() == nil {
			return h.denial(answer)
		}
		return httptest.NewRecorder()
	}
	// the asker of introspection
	r := h.form("/oauth2/introspect", "x", all.all)
	r.Header["Authorization"] = q.request("GET", "/").Header["Authorization"]
	return do(h.node, r)
}

// refusedBy asks a door and answers the refusal that it kept, nil for none.
func (h *house) refusedBy(door string, q question) *refusals.Answer {
	h.t.Helper()
	h.send(door, q)
	answer, err := h.refused.Explain(operator(), refusals.Question{RequestID: requestID(h.requests.Load())})
	if err != nil {
		return nil
	}
	return &answer
}

// asked is what a pasted token is asked about so that it meets the same demand.
func (q question) asked(door string) refusals.Question {
	out := refusals.Question{Token: authority.NewSecret(q.token), Door: door, Role: q.demand.role, Tags: q.demand.tags, ClientID: q.demand.clientID, From: client}
	if q.demand.audience != "" {
		out.Audience = []string{q.demand.audience}
	}
	return out
}

func wantExplained(t *testing.T, how string, answer refusals.Answer, w way) {
	t.Helper()
	cause, last := answer.Cause(), answer.Findings[len(answer.Findings)-1]
	if cause == nil || cause.Check != w.check || cause.Compared == "" || !strings.Contains(cause.Advice, w.advice) {
		t.Errorf("%s: the cause is %+v, want %s and the advice %q", how, cause, w.check, w.advice)
	}
	if last.Check != "verdict" || last.Compared != w.reason.String() {
		t.Errorf("%s: the verdict is %+v, want %s", how, last, w.reason)
	}
}

// Each way in which a token is refused is explained by its true cause, with advice:
// after a real refusal by its request, and of a token that is pasted.
func TestEachWayToBeRefusedIsExplained(t *testing.T) {
	all := slices.Concat(states(), moreStates())
	seen := map[liveset.Reason]bool{liveset.Allowed: true}
	for _, w := range ways() {
		i := slices.IndexFunc(all, func(s state) bool { return s.group+"/"+s.name == w.state })
		if i < 0 {
			t.Errorf("there is no state %q", w.state)
			continue
		}
		t.Run(w.state, func(t *testing.T) {
			h := newForge(t, jws.ES256)
			q := all[i].ask(h)
			if all[i].then != nil {
				all[i].then(h, &q)
			}
			refused := 0
			for _, d := range doors() {
				kept := doorsThatKeep()[d.name]
				if kept == "" || w.at != "" && w.at != d.name {
					continue
				}
				answer := h.refusedBy(d.name, q)
				if answer == nil || answer.Refusal.Reason != w.reason && w.at == "" {
					continue // it lets it pass, or sees less of the request
				}
				refused++
				if answer.Refusal.Door != kept {
					t.Errorf("%s keeps it as refused by %s", d.name, answer.Refusal.Door)
				}
				wantExplained(t, d.name+", by request", *answer, w)
				if q.fields != nil || q.query != "" || w.reason == liveset.DemandInvalid || w.reason == liveset.TooMany {
					continue // what is wrong is the request, not the token
				}
				pasted, err := h.refused.Explain(operator(), q.asked(kept))
				must(t, err)
				wantExplained(t, d.name+", pasted", pasted, w)
			}
			if refused == 0 {
				t.Errorf("no door refuses it as %s: %s", w.reason, h.decider.Decide(q.token, liveset.Demand{}).Reason)
			}
			seen[w.reason] = true
		})
	}
	if len(ways()) < 25 {
		t.Errorf("%d ways", len(ways()))
	}
	for _, reason := range liveset.Reasons() {
		if !seen[reason] {
			t.Errorf("no way is refused as %s", reason)
		}
	}
}

// Whatever a door refuses, the explanation has one cause and its advice, and holds
// nothing of the token that could be used.
func TestNoRefusalIsWithoutItsCause(t *testing.T) {
	shared := newForge(t, jws.ES256)
	for _, s := range states() {
		t.Run(s.group+"/"+s.name, func(t *testing.T) {
			h := shared
			h.t = t
			if s.fresh || s.then != nil {
				h = newHouse(t, jws.ES256)
			}
			q := s.ask(h)
			if s.then != nil {
				s.then(h, &q)
			}
			for _, d := range doors() {
				want := s.wants(d, jws.ES256)
				if doorsThatKeep()[d.name] == "" || want == none || want == allow {
					continue
				}
				answer := h.refusedBy(d.name, q)
				if answer == nil {
					t.Errorf("%s: nothing is kept", d.name)
					continue
				}
				cause, last := answer.Cause(), answer.Findings[len(answer.Findings)-1]
				if cause.Advice == "" || cause.Advice != last.Advice || last.Compared != answer.Refusal.Reason.String() {
					t.Errorf("%s: the cause is %+v, the verdict %+v", d.name, cause, last)
				}
				if _, signature, _ := cutLast(q.token); len(signature) > 20 && strings.Contains(fmt.Sprintf("%+v", answer), signature) {
					t.Errorf("%s: the signature is kept", d.name)
				}
			}
		})
	}
}

func cutLast(s string) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, '.'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// outside is all that a client is told, its request's id taken out.
func (h *house) outside(door string, q question) string {
	h.t.Helper()
	w := h.send(door, q)
	return strings.ReplaceAll(fmt.Sprint(w.Code, w.Header(), w.Body), requestID(h.requests.Load()), "ID")
}

// Outside, every token that is not good is answered with the same bytes: 200 tell
// no more than one.
func TestOutsideAnInvalidTokenIsAnsweredWithTheSameBytes(t *testing.T) {
	said := make(map[string]map[string]string) // door → answer → whose it was
	shared := newForge(t, jws.ES256)
	for _, s := range states() {
		t.Run(s.group+"/"+s.name, func(t *testing.T) {
			h := shared
			h.t = t
			if s.fresh || s.then != nil {
				h = newHouse(t, jws.ES256)
			}
			q := s.ask(h)
			if s.then != nil {
				s.then(h, &q)
			}
			if q.fields != nil || q.query != "" || s.needs != "" || h.decider.unknown.Load() || !isPlain(q.token) {
				return
			}
			for _, d := range []string{"forward-auth", "guard", "own API", "introspection", "TokenReview", "ext_authz", "whoever asks"} {
				demand := liveset.Demand{}
				if d == "own API" || d == "whoever asks" {
					demand = liveset.Demand{Purpose: liveset.ForOwnCalls, AnyAudience: true}
				}
				if d == "whoever asks" {
					demand.Role = authority.RoleVerifier
				}
				if h.decider.Decide(q.token, demand).Reason.Class() != liveset.ClassInvalid {
					continue
				}
				if said[d] == nil {
					said[d] = make(map[string]string)
				}
				said[d][h.outside(d, q)] = s.group + "/" + s.name
			}
		})
	}
	for d, answers := range said {
		if len(answers) != 1 {
			t.Errorf("%s tells %d apart: %v", d, len(answers), answers)
		}
		for answer := range answers {
			if !strings.Contains(strings.ToLower(answer), "invalid token") && d != "introspection" && d != "TokenReview" {
				t.Errorf("%s answers %s", d, answer)
			}
		}
	}
	if len(said) != 7 {
		t.Errorf("%d doors were asked", len(said))
	}
}

// isPlain reports a text that can be one credential.
func isPlain(token string) bool {
	return token != "" && !strings.ContainsAny(token, " ,\t") && strings.ToValidUTF8(token, "") == token
}
