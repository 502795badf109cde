package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
	"mintmark/internal/liveset"
	"mintmark/internal/strictjson"
)

// TokenReview is the webhook by which a Kubernetes API server authenticates
// bearer tokens (authentication.k8s.io TokenReview, v1 and v1beta1, which differ in
// nothing that is used). The API server itself calls with a Verifier's or an
// Admin's token as Bearer.
//
// A token is good here when it is good at any door and for one of the audiences
// that are asked for; without any, for one of the caller's own. Whom a token
// speaks for becomes the user name, its role and tags become groups, each with a
// prefix, so that none can ever be a group of the cluster's own.
type TokenReview struct {
	Live edge.Decider
	// Audience is the server's own audience.
	Audience func() []string
}

// review is what is read of a TokenReview.
type review struct {
	version, kind, token string
	audiences            []string
}

// reviewed is a TokenReview as it is answered; what is answered has no spec.
type reviewed struct {
	Version string       `json:"apiVersion"`
	Kind    string       `json:"kind"`
	Status  reviewStatus `json:"status"`
}

type reviewStatus struct {
	Authenticated bool        `json:"authenticated"`
	User          *reviewUser `json:"user,omitempty"`
	Audiences     []string    `json:"audiences,omitempty"`
	Error         string      `json:"error,omitempty"`
}

type reviewUser struct {
	Name   string              `json:"username"`
	ID     string              `json:"uid"`
	Groups []string            `json:"groups"`
	Extra  map[string][]string `json:"extra"`
}

func (t TokenReview) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	common(w)
	in, asked := edge.Of(r), liveset.Demand{Purpose: liveset.ForOwnCalls, Role: authority.RoleVerifier, AnyAudience: true}
	caller, verdict, cred := edge.CallerOf(r, t.Live, asked)
	if !verdict.Allow() {
		f := refusal{verdict, cred, asked}
		p, challenge := f.problem()
		f.write(w, in, p, challenge)
		return
	}
	question, wrong := reviewOf(w, r)
	if wrong.Status != 0 {
		write(w, in, wrong)
		return
	}
	who := askerOf(caller, verdict.Identity, t.Audience())
	edge.Judged(r, t.answer(w, question, who, in))
}

func (t TokenReview) answer(w http.ResponseWriter, q review, who asker, in edge.Inbound) liveset.Reason {
	demand := who.sees(in)
	if len(q.audiences) > 0 {
		wanted := []string{} // none of them is no audience, which nil would not be
		for _, a := range q.audiences {
			if who.whole || slices.Contains(who.audience, a) {
				wanted = append(wanted, a)
			}
		}
		demand.Audience, demand.AnyAudience = wanted, false
	}
	verdict, status := t.Live.Decide(q.token, demand), http.StatusOK
	out := reviewed{Version: q.version, Kind: q.kind}
	switch f := undecided(verdict); {
	case f.status != 0: // unlike a token that is not good, this is worth asking again
		status, out.Status.Error = f.status, f.text
		f.tell(w)
	case verdict.Allow():
		out.Status = reviewStatus{Authenticated: true, User: userOf(&verdict.Identity), Audiences: verdict.Identity.Audience}
		if !demand.AnyAudience {
			out.Status.Audiences = shared(verdict.Identity.Audience, demand.Audience)
		}
	}
	body, _ := json.Marshal(out) // of texts and a boolean
	answerJSON(w, status, body)
	return verdict.Reason
}

func shared(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}

func userOf(i *liveset.Identity) *reviewUser {
	u := &reviewUser{
		Name: i.ClientID, ID: i.ID, Groups: []string{"mintmark:role:" + string(i.Role)},
		Extra: map[string][]string{"mintmark/token-id": {i.ID}},
	}
	for _, tag := range i.Tags {
		u.Groups = append(u.Groups, "mintmark:tag:"+tag)
	}
	return u
}

// reviewOf reads the question. Members that are not used are passed over; those
// that are have one reading.
func reviewOf(w http.ResponseWriter, r *http.Request) (review, problem) {
	body, err := bodyOf(w, r)
	switch {
	case errors.Is(err, errTooLarge):
		return review{}, problem{Status: http.StatusRequestEntityTooLarge, Code: "body.too_large", Detail: "The body is too large."}
	case err == nil && !isMedia(r, "application/json"):
		return review{}, problem{Status: http.StatusUnsupportedMediaType, Code: "body.media_type", Detail: "Send Content-Type: application/json."}
	}
	var q review
	if err == nil {
		err = q.read(body)
	}
	if err != nil {
		return review{}, problem{Status: http.StatusBadRequest, Code: "body.malformed", Detail: "The body is a TokenReview of authentication.k8s.io/v1."}
	}
	return q, problem{}
}

func (q *review) read(body []byte) error {
	members, err := strictjson.Members(body)
	for _, m := range members {
		switch m.Name {
		case "apiVersion":
			q.version, err = strictjson.Text(m.Value)
		case "kind":
			q.kind, err = strictjson.Text(m.Value)
		case "spec":
			err = q.readSpec(m.Value)
		}
		if err != nil {
			return err
		}
	}
	known := q.version == "authentication.k8s.io/v1" || q.version == "authentication.k8s.io/v1beta1"
	if err == nil && (!known || q.kind != "TokenReview") {
		err = errors.New("it is no TokenReview")
	}
	return err
}

func (q *review) readSpec(spec []byte) error {
	members, err := strictjson.Members(spec)
	for _, m := range members {
		switch m.Name {
		case "token":
			q.token, err = strictjson.Text(m.Value)
		case "audiences":
			err = q.readAudiences(m.Value)
		}
		if err != nil {
			return err
		}
	}
	return err
}

// readAudiences reads a list of texts. null is what Go's encoder makes of none.
func (q *review) readAudiences(list []byte) error {
	if string(list) == "null" {
		return nil
	}
	elements, err := strictjson.Elements(list)
	for _, e := range elements {
		var a string
		if a, err = strictjson.Text(e); err != nil {
			return err
		}
		q.audiences = append(q.audiences, a)
	}
	return err
}
