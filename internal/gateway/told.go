package gateway

import (
	"net/http"

	"mintmark/internal/edge"
	"mintmark/internal/liveset"
)

// Told is a refusal in HTTP's words, for a door that speaks another language and
// has its client answered in HTTP.
type Told struct {
	Status    int
	Challenge string // WWW-Authenticate; "": none
	Body      []byte // a problem document (RFC 9457)
}

// Tell says why a request may not pass, and its id. As at every door that a proxy
// asks, a malformed credential is 401.
func Tell(v liveset.Verdict, cred edge.Credential, d liveset.Demand) Told {
	p, challenge := refusal{v, cred, d}.problem()
	if p.Status == http.StatusBadRequest {
		p.Status = http.StatusUnauthorized
	}
	p.RequestID = d.RequestID
	return Told{p.Status, challenge, p.text()}
}

// TellFault says that the door itself is at fault.
func TellFault(status int, code, detail string) Told {
	return Told{Status: status, Body: problem{Status: status, Code: code, Detail: detail}.text()}
}
