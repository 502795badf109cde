package httpapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/jsonschema"
)

// object is a JSON object.
type object = jsonschema.Object

// describer turns the table into an OpenAPI document; what is the same in many
// places is named once.
type describer struct {
	jsonschema.Describer
	answers object
}

// describe writes the OpenAPI 3.1 document of a table.
func describe(routes []Route) ([]byte, error) {
	d := &describer{jsonschema.Describer{Prefix: "#/components/schemas/", Named: make(object), Closed: make(map[reflect.Type]bool)}, make(object)}
	for _, r := range routes {
		if r.in != nil && !r.OAuth { // what a form has beside is ignored
			d.Closed[r.in] = true
		}
	}
	paths := make(object)
	for _, r := range routes {
		path := strings.ReplaceAll(r.Path, "...}", "}")
		item, ok := paths[path].(object)
		if !ok {
			item = make(object)
			paths[path] = item
		}
		for _, method := range r.methods() {
			item[strings.ToLower(method)] = d.operation(r, method)
		}
	}
	d.Schema(reflect.TypeFor[api.Problem]())
	document := object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Mintmark", "version": "1",
			"description": "Issue, list, copy, verify, revoke and restore API tokens. Times are RFC 3339 in UTC. " +
				"Refusals are problem documents (RFC 9457) with a stable code; besides those of each operation, an unknown address is 404 " +
				api.CodePathUnknown + " and another method is 405 " + api.CodeMethod + " with Allow. What answers GET answers HEAD.",
		},
		"paths":   paths,
		"servers": []object{{"url": "/"}},
		"components": object{
			"schemas": d.Named, "responses": d.answers, "headers": headers(),
			"securitySchemes": object{
				"bearer": object{
					"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
					"description": "An API token or a login token, in one Authorization field. The scheme JWT is read as Bearer.",
				},
				"client": object{
					"type": "http", "scheme": "basic",
					"description": "The client ID and the text of one of its tokens as secret (client_secret_basic); both may be in the form instead (client_secret_post).",
				},
			},
		},
	}
	body, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return nil, errors.New("httpapi: the description cannot be written")
	}
	return append(body, '\n'), nil
}

// methods are those that the document names; a route of any method answers
// others too.
func (r Route) methods() []string {
	if r.Method != "" {
		return []string{r.Method}
	}
	return []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
}

func (d *describer) operation(r Route, method string) object {
	op := object{
		"summary": r.Summary, "operationId": operationID(method, r.Path), "description": r.needs(),
		"responses": d.responses(r), "security": []object{{"bearer": []string{}}},
	}
	switch r.Permission {
	case Administrator:
		op["security"] = []object{{"bearer": []string{"admin"}}} // in 3.1 the names are roles
	case Anyone:
		op["security"] = []object{}
	case Verifiers, Owners:
		if r.OAuth {
			op["security"] = []object{{"bearer": []string{}}, {"client": []string{}}}
		}
	case AnyToken, Presented:
	}
	if parameters := parametersOf(r); len(parameters) > 0 {
		op["parameters"] = parameters
	}
	if r.in != nil && r.in != reflect.TypeFor[none]() {
		schema := object{"schema": d.Schema(r.in)}
		content := object{mediaJSON: schema}
		if r.Form {
			content[mediaForm] = schema
		}
		if r.OAuth {
			content = object{mediaForm: schema}
		}
		op["requestBody"] = object{"content": content, "required": jsonschema.HasRequired(r.in)}
	}
	if r.in == nil && r.Method == http.MethodPost {
		op["requestBody"] = object{"content": object{r.media: object{"schema": object{"type": "object"}}}, "required": true}
	}
	return op
}

// needs says who may use the route.
func (r Route) needs() string {
	switch r.Permission {
	case Administrator:
		return "Needs the role admin."
	case AnyToken:
		return "Needs any valid token."
	case Presented:
		return "Answers every method alike and reads no body. Takes an API token that is not for introspection alone."
	case Verifiers:
		return "Needs the role verifier or admin; a Verifier is told of tokens only that are for one of its own audiences."
	case Owners:
		return "Needs a token of the same client ID, or the role admin; any other token is answered like one that was ended."
	case Anyone:
	}
	return "Needs no token."
}

func (d *describer) responses(r Route) object {
	success := object{"description": http.StatusText(r.Status), "headers": successHeaders(r)}
	switch {
	case r.out != nil && r.out != reflect.TypeFor[none]():
		success["content"] = object{mediaJSON: object{"schema": d.Schema(r.out)}}
	case r.media != "":
		success["content"] = object{r.media: object{"schema": object{"type": "object"}}}
	}
	out := object{strconv.Itoa(r.Status): success}
	if r.published() {
		out["304"] = object{"description": "Not Modified: If-None-Match names what is current.", "headers": successHeaders(r)}
	}
	byStatus := make(map[int][]Refusal)
	for _, f := range r.Refusals() {
		byStatus[f.Status] = append(byStatus[f.Status], f)
	}
	if r.OAuth {
		d.oauthRefusals(out)
	}
	for status, refusals := range byStatus {
		out[strconv.Itoa(status)] = object{"$ref": "#/components/responses/" + d.refusal(status, refusals)}
	}
	return out
}

// oauthRefusals describes the refusals of RFC 6749 section 5.2.
func (d *describer) oauthRefusals(out object) {
	for status, about := range map[int]string{
		http.StatusBadRequest:            "`invalid_request`: it is no form, a parameter is missing or there twice, or the client authenticates in two ways.",
		http.StatusUnauthorized:          "`invalid_client`, `invalid_token`, `insufficient_scope`: who asks is not admitted.",
		http.StatusRequestEntityTooLarge: "`invalid_request`: the body is larger than 64 KiB.",
		http.StatusTooManyRequests:       "`too_many_requests`: a limit is reached.",
		http.StatusServiceUnavailable:    "`temporarily_unavailable`: the state of the tokens is not known, or not whether the change lasts.",
	} {
		out[strconv.Itoa(status)] = object{
			"description": about, "headers": refusalHeaders(status),
			"content": object{mediaJSON: object{"schema": d.Schema(reflect.TypeFor[api.OAuthError]())}},
		}
	}
}

// refusal describes a problem document with one of some codes, and answers the
// name under which it stands.
func (d *describer) refusal(status int, refusals []Refusal) string {
	name, about := strconv.Itoa(status), http.StatusText(status)+"."
	var codes []string
	for _, f := range refusals {
		codes = append(codes, f.Code)
		name += "-" + f.Code
		about += "\n- `" + f.Code + "`: " + f.Means
	}
	d.answers[name] = object{
		"description": about, "headers": refusalHeaders(status),
		"content": object{api.ProblemType: object{"schema": object{"allOf": []object{
			{"$ref": "#/components/schemas/Problem"},
			{"type": "object", "properties": object{"code": object{"enum": codes}, "status": object{"const": status}}},
		}}}},
	}
	return name
}

func refusalHeaders(status int) object {
	fields := object{"X-Request-Id": headerRef("X-Request-Id")}
	switch status {
	case http.StatusUnauthorized:
		fields["WWW-Authenticate"] = headerRef("WWW-Authenticate")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		fields["Retry-After"] = headerRef("Retry-After")
	}
	return fields
}

func headerRef(name string) object { return object{"$ref": "#/components/headers/" + name} }

func headers() object {
	out := make(object)
	for name, about := range map[string]string{
		"X-Request-Id":     "Finds the request in the server's log.",
		"WWW-Authenticate": "The challenge of RFC 6750 section 3.",
		"Retry-After":      "When to ask again, in seconds.",
		"Location":         "The address of the new token.",
		"ETag":             "Of the document as it is now.",
		"X-Auth-Client-Id": "Whom the token speaks for.",
		"X-Auth-Role":      "The role of the token.",
		"X-Auth-Tags":      "The tags of the token, joined with commas; empty without any.",
		"X-Auth-Token-Id":  "The id of the token.",
	} {
		out[name] = object{"description": about, "required": true, "schema": object{"type": "string"}}
	}
	return out
}

func successHeaders(r Route) object {
	names := []string{"X-Request-Id"}
	switch {
	case r.Permission == Presented:
		names = append(names, "X-Auth-Client-Id", "X-Auth-Role", "X-Auth-Tags", "X-Auth-Token-Id")
	case r.published():
		names = append(names, "ETag")
	case strings.HasPrefix(r.Path, "/api/v1/tokens") && r.Status == http.StatusCreated:
		names = append(names, "Location")
	}
	out := make(object)
	for _, name := range names {
		out[name] = headerRef(name)
	}
	return out
}

func parametersOf(r Route) []object {
	var out []object
	for rest := r.Path; ; {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			break
		}
		var name string
		name, rest, _ = strings.Cut(after, "}")
		name = strings.TrimSuffix(name, "...")
		out = append(out, object{"in": "path", "name": name, "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range r.Query {
		out = append(out, p.describe("query"))
	}
	for _, p := range r.Headers {
		out = append(out, p.describe("header"))
	}
	return out
}

func (p Parameter) describe(in string) object {
	schema := object{"type": "string"}
	switch {
	case len(p.Values) > 0:
		schema["enum"] = p.Values
	case p.Name == "limit":
		schema = object{"type": "integer", "minimum": 1, "maximum": cmp.Or(p.Most, authority.MaxPage), "default": cmp.Or(p.Usual, authority.DefaultPage)}
	}
	out := object{"in": in, "name": p.Name, "description": p.About, "schema": schema}
	if p.Repeats {
		out["schema"] = object{"type": "array", "items": schema}
	}
	return out
}

// operationID is the method and the words of the path, which is unique.
func operationID(method, path string) string {
	id := strings.ToLower(method)
	for _, word := range strings.FieldsFunc(strings.TrimPrefix(path, "/api/v1"), func(c rune) bool { return strings.ContainsRune("/{}.-_", c) }) {
		id += strings.ToUpper(word[:1]) + word[1:]
	}
	return id
}
