package main

import (
	"strings"

	"mintmark/api"
)

// whatIsWrong says what is wrong, of each field by the flag that gave it.
func whatIsWrong(refused *api.Error) string {
	var lines []string
	for _, f := range refused.Fields {
		name := flagOf(f.Field)
		switch {
		case name != "":
			lines = append(lines, name+": "+f.Detail)
		case len(refused.Fields) == 1:
			lines = append(lines, f.Detail)
		default:
			lines = append(lines, f.Field+": "+f.Detail)
		}
	}
	if len(lines) == 0 {
		return refused.Detail
	}
	return strings.Join(lines, "\n  ")
}

// flagOf is the flag that gives a field of the API, "" for what comes in another
// way.
func flagOf(field string) string {
	switch field {
	case "tags":
		return "--tag"
	case "allowed_addresses":
		return "--allow"
	case "lifetime", "expires_at":
		return "--expires"
	case "duration":
		return "--for"
	case "q":
		return "--search"
	case "client_id", "role", "audience", "description", "contact", "overlap", "until", "by", "reason", "door", "from", "state", "sort", "limit",
		"expiring", "tag", "action", "actor", "target", "outcome", "since":
		return "--" + strings.ReplaceAll(field, "_", "-")
	}
	return ""
}
