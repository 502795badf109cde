package httpapi

import (
	"mintmark/api"
	"mintmark/internal/authority"
)

func (a *API) tokenUsage(c *call, _ none) (api.TokenUsage, error) {
	id, err := c.tokenID()
	if err != nil {
		return api.TokenUsage{}, err
	}
	return usageOf(a.Authority.TokenUsage(c.request.Context(), c.caller, id))
}

func (a *API) unknownUsage(c *call, _ none) (api.TokenUsage, error) {
	return usageOf(a.Authority.UnknownUsage(c.request.Context(), c.caller))
}

func usageOf(u authority.TokenUsage, err error) (api.TokenUsage, error) {
	if err != nil {
		return api.TokenUsage{}, err
	}
	out := api.TokenUsage{
		AsOf: u.AsOf.UTC(), SavedAt: moment(u.Saved), CountedSince: u.Since.UTC(), Hours: spansOf(u.Hours), Days: spansOf(u.Days),
		Sources: []api.UsageSource{}, Refusals: []api.UsageRefusal{},
	}
	for _, s := range u.Sources {
		out.Sources = append(out.Sources, api.UsageSource{
			From: s.From, Via: s.Via, KeyID: s.Key.String(), First: s.First.UTC(), Last: s.Last.UTC(), Allowed: s.Allowed, Refused: s.Refused,
		})
	}
	for _, r := range u.Refusals {
		out.Refusals = append(out.Refusals, api.UsageRefusal{Reason: r.Reason, From: r.From, First: r.First.UTC(), Last: r.Last.UTC(), Count: r.Count})
	}
	return out, nil
}

// spansOf leaves out those without a request.
func spansOf(spans []authority.UsageSpan) []api.UsageSpan {
	out := []api.UsageSpan{}
	for _, s := range spans {
		if s.Current+s.Previous+s.Refused > 0 {
			out = append(out, api.UsageSpan{Start: s.Start.UTC(), Current: s.Current, Previous: s.Previous, Refused: s.Refused})
		}
	}
	return out
}

func reuseOf(r authority.UsageRefusal) *api.Reuse {
	if r.Count == 0 {
		return nil
	}
	return &api.Reuse{Count: r.Count, Last: r.Last.UTC(), From: r.From}
}

func requestsOf(r authority.Requests, known bool) *api.Requests {
	if !known {
		return nil
	}
	return &api.Requests{Under: r.Under, Current: r.Since}
}

func usageState(s authority.LedgerState) api.UsageState {
	return api.UsageState{Durable: s.Durable, SavedAt: moment(s.Saved), Problem: s.Problem, OthersAt: moment(s.Others), Lost: s.Lost}
}
