package authority

// PreviewToken answers the record that IssueToken would make of a request, with
// neither id nor key, or every fault of it. Nothing is made and nothing is
// recorded.
func (a *Authority) PreviewToken(c Caller, r TokenRequest) (TokenView, error) {
	if err := c.mustAdmin(); err != nil {
		return TokenView{}, err
	}
	now := a.second()
	draft, err := a.Policy().draft(r, now)
	if err != nil {
		return TokenView{}, err
	}
	draft.CreatedAt, draft.CreatedBy = now, c.actor.Name
	return TokenView{Token: draft, State: StateActive}, nil
}
