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
// of ours is malformed. misspelt, if any, is told of names that are nearly ours.
func demands(query string, misspelt func(sent, meant string)) url.Values {
	names := [...]string{"role", "tag", "client_id", "audience"}
	found := make(url.Values)
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil || !slices.Contains(names[:], name) {
			if i := slices.IndexFunc(names[:], func(ours string) bool { return isSlip(name, ours) }); i >= 0 && misspelt != nil {
				misspelt(name, names[i])
			}
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

// isSlip reports whether a name is another but for its case and one letter, two in
// a long one, that is left out, put in or exchanged.
func isSlip(name, meant string) bool {
	most := 1
	if len(meant) > 4 {
		most = 2
	}
	if len(name) > len(meant)+most || len(name)+most < len(meant) {
		return false
	}
	name = strings.ToLower(name)
	// row[j] is the distance of the letters of name that were read to the first j
	// of meant (Levenshtein).
	var row [16]int
	for j := range row {
		row[j] = j
	}
	for i := range len(name) {
		before := row[0]
		row[0] = i + 1
		for j := range len(meant) {
			here := before
			if name[i] != meant[j] {
				here = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], here
		}
	}
	return row[len(meant)] <= most
}

// ReadDemand reads what a door asks: role, tag (every one is needed), client_id
// and audience (one of own). Its Fault says what of it cannot be understood, never
// what was sent; other names are left alone.
func ReadDemand(asked map[string][]string, own []string) (d liveset.Demand) {
	d.Fault = readDemand(&d, asked, own)
	return d
}

func readDemand(d *liveset.Demand, asked map[string][]string, own []string) (fault string) {
	for _, role := range asked["role"] {
		switch authority.Role(role) {
		case authority.RoleAdmin:
			d.Role = authority.RoleAdmin
		case authority.RoleUser: // the least that a door asks
		default:
			return "A door asks for the role user or admin."
		}
	}
	for _, tag := range asked["tag"] {
		if _, err := authority.ParseTag(tag); err != nil {
			return "A tag is name:value."
		}
		d.Tags = append(d.Tags, tag)
	}
	if ids := asked["client_id"]; len(ids) > 0 {
		id, err := authority.ParseClientID(ids[0])
		if err != nil || id != ids[0] || len(ids) > 1 {
			return "A door asks for one client ID."
		}
		d.ClientID = id
	}
	if audience := asked["audience"]; len(audience) > 0 {
		if len(audience) > 1 || !slices.Contains(own, audience[0]) {
			return "A door asks for one audience, and it is one of the server's own."
		}
		d.Audience = audience
	}
	return ""
}
