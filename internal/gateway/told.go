package gateway

import (
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

// Tell says why a request may not pass.
func Tell(v liveset.Verdict, cred edge.Credential, d liveset.Demand) Told {
	p, challenge := refusal{v, cred, d}.problem()
	return Told{p.Status, challenge, p.text()}
}
