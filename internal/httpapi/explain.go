package httpapi

import (
	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/refusals"
)

func (a *API) explain(c *call, in api.Explain) (api.Findings, error) {
	answer, err := a.Refusals.Explain(c.caller, refusals.Question{
		RequestID: in.RequestID, Token: authority.NewSecret(in.Token.Unsafe()), Door: in.Door, Role: in.Role, Tags: in.Tags, ClientID: in.ClientID,
		Audience: in.Audience, From: in.From,
	})
	if err != nil {
		return api.Findings{}, err
	}
	out := api.Findings{Items: []api.Finding{}}
	for _, f := range answer.Findings {
		out.Items = append(out.Items, api.Finding{Check: f.Check, OK: f.OK, Compared: f.Compared, Advice: f.Advice})
	}
	if r := answer.Refusal; r != nil {
		out.Refusal = &api.Refused{
			RequestID: r.Demand.RequestID, At: r.At.UTC(), Door: r.Door, Reason: r.Reason.String(), Role: string(r.Demand.Role), Tags: list(r.Demand.Tags),
			ClientID: r.Demand.ClientID, Audience: list(r.Demand.Audience), From: answer.From,
			Token: api.Said{ID: r.Said.Claims.ID, ClientID: r.Said.Claims.ClientID, KeyID: r.Said.Header.Kid},
		}
	}
	return out, nil
}
