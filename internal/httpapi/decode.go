package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/strictjson"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 64 << 10

const (
	mediaJSON = "application/json"
	mediaForm = "application/x-www-form-urlencoded"
)

// decode reads the body into a pointer to a struct. No body reads as {}: what
// must be there is for the rules to say.
func (c *call) decode(into any, form bool) error {
	r := c.request
	large := &fault{http.StatusRequestEntityTooLarge, api.CodeBodyTooLarge, fmt.Sprintf("A body has %d bytes at most.", maxBody)}
	if r.ContentLength > maxBody {
		c.writer.Header().Set("Connection", "close") // else the server waits for a body that nobody will read
		return large
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.writer, r.Body, maxBody))
	if err != nil {
		var more *http.MaxBytesError
		if errors.As(err, &more) {
			return large
		}
		return malformed("The body ended too early.")
	}
	if len(body) == 0 {
		return nil
	}
	if encoding := r.Header.Values("Content-Encoding"); len(encoding) > 0 {
		return &fault{http.StatusUnsupportedMediaType, api.CodeMediaType, "A body is sent as it is, without Content-Encoding."}
	}
	var media string
	if types := r.Header.Values("Content-Type"); len(types) == 1 {
		media, _, _ = mime.ParseMediaType(types[0])
	}
	switch {
	case media == mediaJSON:
		err = decodeObject(body, into)
	case media == mediaForm && form:
		err = decodeForm(body, into)
	case form:
		return &fault{http.StatusUnsupportedMediaType, api.CodeMediaType, "Send Content-Type: " + mediaJSON + ", or " + mediaForm + "."}
	default:
		return &fault{http.StatusUnsupportedMediaType, api.CodeMediaType, "Send Content-Type: " + mediaJSON + "."}
	}
	if err != nil {
		return malformed("The body cannot be read: " + err.Error() + ".")
	}
	return nil
}

// maxDetail bounds what a refusal repeats of a body, in bytes.
const maxDetail = 300

func malformed(detail string) error {
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	return &fault{http.StatusBadRequest, api.CodeBodyMalformed, detail}
}

// decodeObject reads a JSON object. A member that is null, which Go would read
// as one that is not there, is refused: it could mean the default or "none".
func decodeObject(body []byte, into any) error {
	if first := bytes.TrimLeft(body, " \t\r\n"); len(first) > 0 && first[0] != '{' {
		return errors.New("it is not a JSON object")
	}
	if err := strictjson.Decode(body, into); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return errors.New("it is not a JSON object")
	}
	for name, value := range members {
		if string(value) == "null" {
			return fmt.Errorf("member %q is null; leave it out", name)
		}
	}
	return nil
}

// decodeForm reads the one form there is. Names are not repeated: whoever forgot
// "password=" sent the password as one.
func decodeForm(body []byte, into any) error {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return errors.New("the form is malformed")
	}
	in, ok := into.(*api.Credentials)
	if !ok {
		return errors.New("no form is taken here")
	}
	for name, value := range values {
		switch {
		case len(value) > 1:
			return errors.New("a field is there twice")
		case name == "username":
			in.Username = value[0]
		case name == "password":
			in.Password = api.NewSecret(value[0])
		default:
			return errors.New("the fields are username and password")
		}
	}
	return nil
}

// queryOf reads the query: only parameters of the route, each once.
func queryOf(r *http.Request, known []Parameter) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &fault{http.StatusBadRequest, api.CodeQuery, "The query is malformed."}
	}
	var names []string
	for _, p := range known {
		names = append(names, p.Name)
	}
	for name, value := range values {
		// The name that was sent is not repeated: it may be a pasted token.
		if len(names) == 0 {
			return nil, &fault{http.StatusBadRequest, api.CodeQuery, "This address takes no query."}
		}
		if !slices.Contains(names, name) {
			return nil, &fault{http.StatusBadRequest, api.CodeQuery, "There is an unknown query parameter. This address takes " + strings.Join(names, ", ") + "."}
		}
		if len(value) > 1 {
			return nil, &fault{http.StatusBadRequest, api.CodeQuery, "The query parameter " + name + " is there twice."}
		}
	}
	return values, nil
}

// faults collects what is wrong with the members of one request.
type faults []authority.FieldError

func (f *faults) add(field, code, msg string) {
	*f = append(*f, authority.FieldError{Field: field, Code: code, Msg: msg})
}

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	msg := "The request is not valid."
	if len(f) == 1 {
		msg = f[0].Msg
	}
	return &authority.Error{Kind: authority.Invalid, Code: "request.invalid", Msg: msg, Fields: f}
}

// time reads an RFC 3339 time; "" is the zero time.
func (f *faults) time(field, text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.IsZero() {
		f.add(field, field+".form", "A time is RFC 3339, such as 2027-02-21T14:08:00Z.")
		return time.Time{}
	}
	return at.UTC()
}

// number reads a decimal number without sign; "" is 0.
func (f *faults) number(field, text string, bits int) uint64 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		f.add(field, field+".form", "Give a number.")
	}
	return n
}

// flag reads "true" or "false"; "" is false.
func (f *faults) flag(field, text string) bool {
	switch text {
	case "", "false":
		return false
	case "true":
		return true
	}
	f.add(field, field+".form", "Give true or false.")
	return false
}
