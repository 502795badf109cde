package httpapi

import (
	"slices"
	"time"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/config"
)

const (
	defaultTrial    = 15 * time.Minute
	defaultEvidence = 500 // tokens that an answer names
	maxEvidence     = 5000
)

func (a *API) listKeys(c *call, _ none) (api.KeyList, error) {
	keys, err := a.Authority.Keys(c.request.Context(), c.caller)
	if err != nil {
		return api.KeyList{}, err
	}
	out := api.KeyList{Items: []api.Key{}}
	for _, k := range keys {
		out.Items = append(out.Items, keyOf(k))
	}
	return out, nil
}

func (a *API) resetKeys(c *call, in api.ResetKeys) (api.KeysReset, error) {
	r, err := a.Authority.ResetKeys(c.request.Context(), c.caller, in.Reason)
	if err != nil {
		return api.KeysReset{}, err
	}
	return api.KeysReset{Generation: r.Generation, Current: keyOf(r.Current), TokensRevoked: r.Tokens, LoginsEnded: r.Logins}, nil
}

func (a *API) rotateKeys(c *call, in api.RotateKeys) (api.KeysRotated, error) {
	var wrong faults
	overlap := wrong.duration("overlap", in.Overlap, a.Policy().DefaultOverlap())
	if err := wrong.err(); err != nil {
		return api.KeysRotated{}, err
	}
	r, err := a.Authority.RotateKey(c.request.Context(), c.caller, authority.RotateRequest{Overlap: overlap, Reason: in.Reason})
	if err != nil {
		return api.KeysRotated{}, err
	}
	return api.KeysRotated{Current: keyOf(r.Current), Previous: keyOf(r.Previous), Next: keyOf(r.Next), Warning: r.Warning}, nil
}

// keyName is the kid or the name in the path.
func (c *call) keyName() string { return c.request.PathValue("kid") }

func (a *API) extendKey(c *call, in api.ExtendKey) (api.Key, error) {
	var wrong faults
	until, by := wrong.time("until", in.Until), wrong.duration("by", in.By, 0)
	switch {
	case len(wrong) > 0:
	case until.IsZero() == (by == 0):
		wrong.add("until", "until.once", "Give either the time at which the overlap ends or by how much later that is.")
	case by > 0:
		keys, err := a.Authority.Keys(c.request.Context(), c.caller)
		if err != nil {
			return api.Key{}, err
		}
		for _, k := range keys {
			if k.ID.String() == c.keyName() || k.Name == c.keyName() {
				until = k.Until.Add(by)
			}
		}
	}
	if err := wrong.err(); err != nil {
		return api.Key{}, err
	}
	return keyAnswer(a.Authority.ExtendKey(c.request.Context(), c.caller, c.keyName(), until))
}

func (a *API) trialStop(c *call, in api.TrialStop) (api.Key, error) {
	var wrong faults
	d := wrong.duration("duration", in.Duration, defaultTrial)
	if err := wrong.err(); err != nil {
		return api.Key{}, err
	}
	return keyAnswer(a.Authority.TrialStop(c.request.Context(), c.caller, c.keyName(), d))
}

func (a *API) endTrial(c *call, _ none) (api.Key, error) {
	return keyAnswer(a.Authority.EndTrial(c.request.Context(), c.caller, c.keyName()))
}

func (a *API) retireKey(c *call, _ none) (api.Key, error) {
	return keyAnswer(a.Authority.RetireKey(c.request.Context(), c.caller, c.keyName()))
}

func keyAnswer(k authority.Key, err error) (api.Key, error) {
	if err != nil {
		return api.Key{}, err
	}
	return keyOf(k), nil
}

func (a *API) evidence(c *call, _ none) (api.Evidence, error) {
	var wrong faults
	limit := int(wrong.number("limit", c.query.Get("limit"), 31))
	state := authority.Movement(c.query.Get("state"))
	if state != "" && !slices.Contains(authority.Movements(), state) {
		wrong.add("state", "state.form", "The state is one of not_moved, mixed, silent, moved.")
	}
	if c.query.Get("limit") == "" {
		limit = defaultEvidence
	}
	if len(wrong) == 0 && (limit < 1 || limit > maxEvidence) {
		wrong.add("limit", "limit.range", "Evidence names 1 to 5000 tokens.")
	}
	if err := wrong.err(); err != nil {
		return api.Evidence{}, err
	}
	q := authority.EvidenceQuery{Limit: limit}
	if state != "" {
		q.Movements = []authority.Movement{state}
	}
	e, err := a.Authority.SomeEvidence(c.request.Context(), c.caller, c.keyName(), q)
	if err != nil {
		return api.Evidence{}, err
	}
	last := e.LastUse()
	out := api.Evidence{
		Key: keyOf(e.Key), Current: keyOf(e.Current), AsOf: e.AsOf.UTC(), CountedSince: e.Counted.UTC(), OthersAt: moment(e.Others), Logins: e.Logins,
		NotMoved: e.Count(authority.NotMoved), Mixed: e.Count(authority.Mixed), Silent: e.Count(authority.Silent), Moved: e.Count(authority.Moved),
		LastUsedAt: moment(last.Last), LastUsedFrom: last.From, Items: []api.TokenEvidence{},
		TrialTokens: e.Trial.Tokens, TrialRequests: e.Trial.Requests,
	}
	for _, t := range e.Tokens {
		out.Items = append(out.Items, evidenceOf(t, e.Shares))
	}
	return out, nil
}

func evidenceOf(t authority.TokenEvidence, known bool) api.TokenEvidence {
	return api.TokenEvidence{
		Token: tokenOf(t.TokenView), State: string(t.Movement), Under: useOf(t.Under), Current: useOf(t.Since),
		Requests24h: requestsOf(t.Day, known), RequestsSince: requestsOf(t.Rotation, known),
		TrialRefusals: t.TrialRefusals, TrialRefusedLast: moment(t.TrialRefused),
	}
}

func useOf(u authority.KeyUse) *api.KeyUse {
	if u.Last.IsZero() {
		return nil
	}
	return &api.KeyUse{First: u.First.UTC(), Last: u.Last.UTC(), From: u.From}
}

func keyOf(k authority.Key) api.Key {
	return api.Key{
		ID: k.ID.String(), Name: k.Name, Algorithm: k.Algorithm, State: string(k.State), CreatedAt: k.CreatedAt.UTC(),
		Until: moment(k.Until), CurrentSince: moment(k.CurrentSince), RetiredAt: moment(k.RetiredAt),
		TrialUntil: moment(k.TrialUntil), Hold: k.Hold, Reason: k.Reason,
	}
}

// duration reads a duration such as 14d; "" is what stands for none.
func (f *faults) duration(field, text string, none time.Duration) time.Duration {
	if text == "" {
		return none
	}
	d, err := config.ParseDuration(text)
	if err != nil {
		f.add(field, field+".form", "Give a duration such as 14d, 12h or 30m, 100 years at most.")
	}
	return d
}
