package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/control"
)

func (a *API) listEvents(c *call, _ none) (api.EventList, error) {
	var wrong faults
	q := authority.AuditQuery{
		Before: wrong.number("before", c.query.Get("before"), 64), Limit: int(wrong.number("limit", c.query.Get("limit"), 31)),
		Actor: c.query.Get("actor"), Target: c.query.Get("target"), Action: c.query.Get("action"), Outcome: c.query.Get("outcome"),
		Since: wrong.time("since", c.query.Get("since")), Until: wrong.time("until", c.query.Get("until")),
	}
	if cursor := c.query.Get("cursor"); cursor != "" {
		before, err := strconv.ParseUint(cursor, 10, 64)
		if err != nil || q.Before != 0 {
			wrong.add("cursor", "cursor.invalid", "The cursor is next_cursor of the page before, without a parameter before.")
		}
		q.Before = before
	}
	if c.query.Get("limit") != "" && q.Limit == 0 && len(wrong) == 0 {
		wrong.add("limit", "limit.range", "A page has 1 to 500 entries.")
	}
	if o := q.Outcome; o != "" && o != authority.OutcomeOK && o != authority.OutcomeRefused {
		wrong.add("outcome", "outcome.unknown", "The outcome is ok or refused.")
	}
	if err := wrong.err(); err != nil {
		return api.EventList{}, err
	}
	page, err := a.Authority.Audit(c.request.Context(), c.caller, q)
	if err != nil {
		return api.EventList{}, err
	}
	out := api.EventList{Items: []api.Event{}, NextBefore: page.Next, Total: page.Total}
	if page.Next != 0 {
		out.NextCursor = strconv.FormatUint(page.Next, 10)
	}
	for _, e := range page.Events {
		out.Items = append(out.Items, eventOf(e))
	}
	return out, nil
}

func (a *API) status(c *call, _ none) (api.Status, error) {
	s, err := a.Control.Status(c.request.Context(), c.caller)
	if err != nil {
		return api.Status{}, err
	}
	return statusDocument(s), nil
}

const metadataPath = "/.well-known/oauth-authorization-server"

// metadata says what is implemented and no more. No grant exists, so the lists of
// what would be granted are empty, where leaving them out would mean a default.
func (a *API) metadata(w http.ResponseWriter, r *http.Request) {
	issuer := a.Policy().Issuer
	base := strings.TrimSuffix(issuer, "/")
	body, err := json.Marshal(api.Metadata{
		Issuer: issuer, KeySetURI: base + "/.well-known/jwks.json", ResponseTypes: []string{}, GrantTypes: []string{},
		Introspection: base + "/oauth2/introspect", IntrospectionMethods: []string{"client_secret_basic", "client_secret_post", "Bearer"},
		// The registry of this list knows no access tokens; Bearer works there too.
		Revocation: base + "/oauth2/revoke", RevocationMethods: []string{"client_secret_basic", "client_secret_post"},
	})
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	publish(w, r, mediaJSON, body)
}

// metadataOf answers at the address that an issuer with a path has: the path goes
// behind the well-known one.
func (a *API) metadataOf(w http.ResponseWriter, r *http.Request) {
	issuer, err := url.Parse(a.Policy().Issuer)
	if path := strings.Trim(r.PathValue("issuer"), "/"); err != nil || path == "" || path != strings.Trim(issuer.Path, "/") {
		a.refuse(w, r, &fault{http.StatusNotFound, api.CodePathUnknown, "There is nothing at this address."})
		return
	}
	a.metadata(w, r)
}

func (a *API) alive(*call, none) (api.Health, error) { return api.Health{Status: "ok"}, nil }

// ready says no more than ready or not: anyone may ask.
func (a *API) ready(*call, none) (api.Health, error) {
	if a.Ready() != nil {
		return api.Health{}, &authority.Error{Kind: authority.Unavailable, Code: api.CodeNotReady, Msg: "The server is not ready."}
	}
	return api.Health{Status: "ready"}, nil
}

func (a *API) keySet(w http.ResponseWriter, r *http.Request) {
	body, err := a.JWKS(r.Context())
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	publish(w, r, "application/jwk-set+json", body)
}

func (a *API) openAPI(w http.ResponseWriter, r *http.Request) {
	publish(w, r, mediaJSON, a.description)
}

// publish answers what anyone may have and keep for a while: whole, or as not
// modified. No other condition is looked at (RFC 9110 sections 13.1.1 and 14.2
// let a server leave them), so there are no other statuses.
func publish(w http.ResponseWriter, r *http.Request, media string, body []byte) {
	for _, name := range []string{"Range", "If-Range", "If-Match", "If-Unmodified-Since"} {
		r.Header.Del(name)
	}
	sum := sha256.Sum256(body)
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", authority.KeySetAge/time.Second))
	h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func eventOf(e authority.Event) api.Event {
	out := api.Event{
		Seq: e.Seq, At: e.At.UTC(), Actor: api.Actor{Kind: e.Actor.Kind, Name: e.Actor.Name}, Action: e.Action, Target: e.Target, Label: e.Label,
		From: e.From, Outcome: e.Outcome, RequestID: e.RequestID, Detail: maps.Clone(e.Detail), Hash: e.Hash,
	}
	if out.Detail == nil {
		out.Detail = map[string]string{}
	}
	return out
}

func statusDocument(s control.Status) api.Status {
	out := api.Status{
		Version: s.Version, PID: s.PID, Home: s.Home, StartedAt: s.StartedAt.UTC(), Listen: s.Listen, URL: s.URL, Store: storeOf(s.Store),
		Tokens: api.TokenCounts{
			Active: s.Tokens.Active, Expired: s.Tokens.Expired, Deleted: s.Tokens.Deleted, Revoked: s.Tokens.Revoked, Replaced: s.Tokens.Replaced, Expiring: s.Tokens.Expiring,
		},
		CurrentKey: keyOf(s.CurrentKey), KeyDue: moment(s.KeyDue), Staging: stagingOf(s.Staging), Checks: []api.Check{}, Refusals: maps.Clone(s.Refusals),
		Usage: usageState(s.Usage), Nodes: []api.Node{}, Logins: s.Logins, Unknown: append([]string{}, s.Unknown...),
		Verdicts: api.Verdicts{
			Since: moment(s.Verdicts.Since), AsOf: moment(s.Verdicts.AsOf), Count: s.Verdicts.Count,
			P50: s.Verdicts.P50.Nanoseconds(), P99: s.Verdicts.P99.Nanoseconds(),
		},
	}
	for _, n := range s.Fleet.Nodes {
		out.Nodes = append(out.Nodes, api.Node{
			Name: n.Name, Version: n.Version, Issuer: n.Issuer, StartedAt: n.StartedAt.UTC(), SeenAt: n.SeenAt.UTC(),
			Revision: n.Revision, Behind: max(s.Fleet.Revision, n.Revision) - n.Revision, Ready: n.Ready,
		})
	}
	for _, c := range s.Checks {
		out.Checks = append(out.Checks, api.Check{Name: c.Name, OK: c.OK, Warning: c.Warning, Fact: c.Fact, Fix: c.Fix})
	}
	if out.Refusals == nil {
		out.Refusals = map[string]uint64{}
	}
	return out
}

func storeOf(f authority.StoreFacts) api.Store {
	return api.Store{Kind: f.Kind, Location: f.Location, Persistent: f.Persistent, Problem: f.Problem, LastWrite: moment(f.LastWrite)}
}
