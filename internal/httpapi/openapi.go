package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"mintmark/api"
)

// object is a JSON object; encoding/json writes its members in order of name,
// so the document is the same bytes for the same table.
type object = map[string]any

// describer turns Go types of the wire into schemas.
type describer struct {
	schemas object
	inputs  map[reflect.Type]bool
}

// describe writes the OpenAPI 3.1 document of a table.
func describe(routes []Route) ([]byte, error) {
	d := &describer{schemas: make(object), inputs: make(map[reflect.Type]bool)}
	for _, r := range routes {
		if r.in != nil {
			d.inputs[r.in] = true
		}
	}
	paths := make(object)
	for _, r := range routes {
		item, ok := paths[r.Path].(object)
		if !ok {
			item = make(object)
			paths[r.Path] = item
		}
		method := strings.ToLower(r.Method)
		if method == "" {
			method = "get"
		}
		item[method] = d.operation(r)
	}
	d.schema(reflect.TypeFor[api.Problem]())
	document := object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Mintmark", "version": "1",
			"description": "Issue, list, copy, verify, revoke and restore API tokens. Times are RFC 3339 in UTC; refusals are problem documents (RFC 9457) with a stable code.",
		},
		"paths": paths,
		"components": object{
			"schemas":         d.schemas,
			"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
		},
	}
	body, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return nil, errors.New("httpapi: the description cannot be written")
	}
	return append(body, '\n'), nil
}

func (d *describer) operation(r Route) object {
	op := object{"summary": r.Summary, "operationId": operationID(r), "responses": d.responses(r), "security": []object{{"bearer": []string{}}}}
	switch r.Permission {
	case Administrator:
		op["description"] = "Needs the role admin."
	case AnyToken:
		op["description"] = "Needs any valid token."
	case Anyone:
		op["security"] = []object{}
	}
	if r.Method == "" {
		op["description"] = "Answers every method alike and reads no body. On 200, X-Auth-Client-Id, X-Auth-Role, X-Auth-Tags and X-Auth-Token-Id are always set."
	}
	if parameters := parametersOf(r); len(parameters) > 0 {
		op["parameters"] = parameters
	}
	if r.in != nil && r.in != reflect.TypeFor[none]() {
		content := object{mediaJSON: object{"schema": d.schema(r.in)}}
		if r.Form {
			content[mediaForm] = content[mediaJSON]
		}
		op["requestBody"] = object{"content": content, "required": hasRequired(r.in)}
	}
	return op
}

func (d *describer) responses(r Route) object {
	success := object{"description": http.StatusText(r.Status)}
	switch {
	case r.media != "":
		success["content"] = object{r.media: object{"schema": object{"type": "object"}}}
	case r.out != nil && r.out != reflect.TypeFor[none]():
		success["content"] = object{mediaJSON: object{"schema": d.schema(r.out)}}
	}
	problem := object{api.ProblemType: object{"schema": object{"$ref": "#/components/schemas/Problem"}}}
	return object{
		strconv.Itoa(r.Status): success,
		"default":              object{"description": "A refusal.", "content": problem},
	}
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
		out = append(out, object{"in": "path", "name": name, "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range r.Query {
		out = append(out, object{"in": "query", "name": p.Name, "description": p.About, "schema": object{"type": "string"}})
	}
	for _, p := range r.Headers {
		out = append(out, object{"in": "header", "name": p.Name, "description": p.About, "schema": object{"type": "string"}})
	}
	return out
}

// operationID is the method and the words of the path, which is unique.
func operationID(r Route) string {
	id := strings.ToLower(r.Method)
	if id == "" {
		id = "any"
	}
	for _, word := range strings.FieldsFunc(strings.TrimPrefix(r.Path, "/api/v1"), func(c rune) bool { return strings.ContainsRune("/{}.-_", c) }) {
		id += strings.ToUpper(word[:1]) + word[1:]
	}
	return id
}

// schema describes a type; structs are named once and referred to.
func (d *describer) schema(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[api.Secret]():
		return object{"type": "string", "format": "password"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(d.schema(t.Elem()))
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		if _, done := d.schemas[t.Name()]; !done {
			d.schemas[t.Name()] = nil // a type that refers to itself ends here
			d.schemas[t.Name()] = d.structure(t)
		}
		return object{"$ref": "#/components/schemas/" + t.Name()}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Uint64:
		return object{"type": "integer"}
	default:
		return object{"type": "string"}
	}
}

func nullable(schema object) object {
	if kind, ok := schema["type"]; ok {
		schema["type"] = []any{kind, "null"}
		return schema
	}
	return object{"anyOf": []object{schema, {"type": "null"}}}
}

func (d *describer) structure(t reflect.Type) object {
	properties, required := make(object), []string{}
	for _, f := range members(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		properties[name] = d.schema(f.Type)
		if options != "omitempty" {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	out := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	if d.inputs[t] {
		out["additionalProperties"] = false
	}
	return out
}

func hasRequired(t reflect.Type) bool {
	return slices.ContainsFunc(members(t), func(f reflect.StructField) bool {
		return !strings.HasSuffix(f.Tag.Get("json"), ",omitempty")
	})
}

// members are the fields of a struct and of those it embeds.
func members(t reflect.Type) []reflect.StructField {
	var out []reflect.StructField
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous || f.Tag.Get("json") == "" {
			continue
		}
		out = append(out, f)
	}
	return out
}
