package gateway

import (
	"net/url"
	"slices"
	"strings"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
)

// demands picks the parameters that demand something and leaves the rest of the
// query alone: it may be the client's own and have any form. nil means that one
// of ours is malformed.
func demands(query string) url.Values {
	names := [...]string{"role", "tag", "client_id", "audience"}
	found := make(url.Values)
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil || !slices.Contains(names[:], name) {
			continue
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil || strings.Contains(pair, ";") {
			return nil
		}
		found.Add(name, value)
	}
	return found
}

// ReadDemand reads what a door asks: role, tag (every one is needed), client_id
// and audience (one of own). fault says what of it cannot be understood, never
// what was sent; other names are left alone.
func ReadDemand(asked map[string][]string, own []string) (d liveset.Demand, fault string) {
	for _, role := range asked["role"] {
		switch authority.Role(role) {
		case authority.RoleAdmin:
			d.Role = authority.RoleAdmin
		case authority.RoleUser: // the least that a door asks
		default:
			return d, "A door asks for the role user or admin."
		}
	}
	for _, tag := range asked["tag"] {
		if _, err := authority.ParseTag(tag); err != nil {
			return d, "A tag is name:value."
		}
		d.Tags = append(d.Tags, tag)
	}
	if ids := asked["client_id"]; len(ids) > 0 {
		id, err := authority.ParseClientID(ids[0])
		if err != nil || id != ids[0] || len(ids) > 1 {
			return d, "A door asks for one client ID."
		}
		d.ClientID = id
	}
	if audience := asked["audience"]; len(audience) > 0 {
		if len(audience) > 1 || !slices.Contains(own, audience[0]) {
			return d, "A door asks for one audience, and it is one of the server's own."
		}
		d.Audience = audience
	}
	return d, ""
}
