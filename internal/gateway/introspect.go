package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
)

// Introspect is token introspection (RFC 7662). A Verifier or an Admin asks, and
// authenticates as Bearer, by client_secret_basic or by client_secret_post; a
// Verifier is told of tokens only that are for one of its own audiences.
//
// What is not good as an API token for the asker is {"active":false}, and these
// bytes are all of it: unknown, ended, foreign, a login token, a Verifier's (which
// opens no door), one that is bound to addresses (whose client is not seen here).
// While the state is unknown the answer is 503. An active answer counts as a use
// of the token, and asking as one of the asker's.
type Introspect struct {
	Live edge.Decider
	// Audience is the server's own audience.
	Audience func() []string
}

// ServeHTTP answers r where a multiplexer found the door.
func (i Introspect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	edge.Judged(r, i.Answer(w, r, edge.Of(r)))
}

// Answer is the whole door; see [edge.Door].
func (i Introspect) Answer(w http.ResponseWriter, r *http.Request, in edge.Inbound) liveset.Reason {
	if r.Method != http.MethodPost {
		common(w)
		w.Header().Set("Allow", http.MethodPost)
		write(w, in, problem{Status: http.StatusMethodNotAllowed, Code: "method.not_allowed", Detail: "This address answers POST only."})
		return liveset.Undecided
	}
	who, token, reason := door{i.Live, i.Audience, authority.RoleVerifier}.admit(w, r, in)
	if reason != liveset.Allowed {
		return reason
	}
	verdict := i.Live.Decide(token, who.sees(in))
	switch f := undecided(verdict); {
	case f.status != 0:
		f.write(w)
	case verdict.Allow():
		answerJSON(w, http.StatusOK, active(&verdict.Identity))
	default:
		answerJSON(w, http.StatusOK, []byte(`{"active":false}`))
	}
	return verdict.Reason
}

// active is the answer of RFC 7662 section 2.2. It is written by hand: this is
// the way of every request to an API that introspects.
func active(i *liveset.Identity) []byte {
	b := make([]byte, 0, 512)
	b = appendText(append(b, `{"active":true,"client_id":`...), i.ClientID)
	b = appendText(append(b, `,"sub":`...), i.ClientID)
	b = appendText(append(b, `,"token_type":"Bearer","iss":`...), i.Issuer)
	b = appendTexts(append(b, `,"aud":`...), i.Audience)
	b = appendText(append(b, `,"jti":`...), i.ID)
	b = strconv.AppendInt(append(b, `,"iat":`...), i.IssuedAt.Unix(), 10)
	if !i.ExpiresAt.IsZero() {
		b = strconv.AppendInt(append(b, `,"exp":`...), i.ExpiresAt.Unix(), 10)
	}
	b = appendText(append(b, `,"role":`...), string(i.Role))
	b = appendTexts(append(b, `,"tags":`...), i.Tags)
	return append(b, '}')
}

func appendTexts(b []byte, texts []string) []byte {
	b = append(b, '[')
	for n, s := range texts {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendText(b, s)
	}
	return append(b, ']')
}

// appendText writes a JSON string.
func appendText(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always has a form
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
