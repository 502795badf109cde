package httpapi

import "mintmark/api"

func (a *API) resealKeys(c *call, _ none) (api.KeysResealed, error) {
	n, err := a.Authority.ResealKeys(c.request.Context(), c.caller)
	return api.KeysResealed{Keys: n}, err
}
