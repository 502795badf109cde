package gateway

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// maxBody bounds what is read of a body, in bytes.
const maxBody = 64 << 10

var errTooLarge = errors.New("the body is too large")

// bodyOf reads the body; it is errTooLarge, or has ended too early, or whole.
func bodyOf(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		w.Header().Set("Connection", "close") // else the server waits for a body that nobody will read
		return nil, errTooLarge
	}
	if r.ContentLength >= 0 {
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var more *http.MaxBytesError
	if errors.As(err, &more) {
		err = errTooLarge
	}
	return body, err
}

// isMedia reports whether the body says that it is of a media type, and is sent
// as it is.
func isMedia(r *http.Request, media string) bool {
	types := r.Header["Content-Type"]
	if len(types) != 1 || len(r.Header["Content-Encoding"]) > 0 {
		return false
	}
	if types[0] == media {
		return true
	}
	said, _, err := mime.ParseMediaType(types[0])
	return err == nil && said == media
}

// field is one parameter: it may be there once, and without a value it counts as
// left out (RFC 6749 section 3.1).
type field struct {
	value string
	given bool
}

// form is what a client asks and, in the manner of client_secret_post, who it is
// (RFC 7662 section 2.1, RFC 7009 section 2.1, RFC 6749 section 2.3.1). The hint
// is read to be judged, and changes nothing.
type form struct {
	token, hint, clientID, clientSecret field
}

// formOf reads the form; fault says what is wrong with it, never what was sent.
// Whatever is wrong, it holds nothing then.
func formOf(w http.ResponseWriter, r *http.Request) (form, fault) {
	body, err := bodyOf(w, r)
	switch {
	case errors.Is(err, errTooLarge):
		return form{}, fault{status: http.StatusRequestEntityTooLarge, code: invalidRequest, text: "The body is too large."}
	case err != nil:
		return form{}, badRequest("The body ended too early.")
	case r.URL.RawQuery != "":
		return form{}, badRequest("This address takes no query. A token does not belong in the URL.")
	case !isMedia(r, "application/x-www-form-urlencoded"):
		return form{}, badRequest("Send a form: application/x-www-form-urlencoded.")
	}
	return parseForm(string(body))
}

func parseForm(body string) (form, fault) {
	var f form
	for body != "" {
		var pair string
		pair, body, _ = strings.Cut(body, "&")
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, wrongName := unescape(rawName)
		value, wrongValue := unescape(rawValue)
		if wrongName != nil || wrongValue != nil || strings.Contains(pair, ";") {
			return form{}, badRequest("The form is malformed.")
		}
		to := f.named(name)
		switch {
		case to == nil: // unknown ones are ignored (RFC 6749 section 3.1)
		case to.given:
			return form{}, badRequest("A parameter is there twice.")
		default:
			*to = field{value, true}
		}
	}
	return f, fault{}
}

// unescape is url.QueryUnescape, but for a token, which has nothing to unescape, it
// does not look at each byte.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, nil
	}
	return url.QueryUnescape(s)
}

func (f *form) named(name string) *field {
	switch name {
	case "token":
		return &f.token
	case "token_type_hint":
		return &f.hint
	case "client_id":
		return &f.clientID
	case "client_secret":
		return &f.clientSecret
	}
	return nil
}
