package gateway

import (
	"net/url"
	"slices"
	"strings"
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
