// Package jsonschema describes Go types, as encoding/json writes them, in JSON
// Schema (draft 2020-12): for the OpenAPI document of the API and for the
// documents that the commands print.
//
// It knows the public wire types and touches nothing.
//
// The one hard idea: a schema is of what is sent, so a member may be added later
// without making an old schema wrong; only what is read, and refused when it has
// more, is closed.
package jsonschema

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"mintmark/api"
)

// Object is a JSON object; encoding/json writes its members in order of name, so
// a description is the same bytes for the same type.
type Object = map[string]any

// Describer describes types that refer to one another.
type Describer struct {
	Prefix string                // of a reference: "#/components/schemas/"
	Named  Object                // every struct that was met, by its name
	Closed map[reflect.Type]bool // structs that have no other members
}

// Schema describes a type; structs are named once and referred to.
func (d *Describer) Schema(t reflect.Type) Object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return Object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[api.Secret]():
		return Object{"type": "string", "format": "password"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(d.Schema(t.Elem()))
	case reflect.Slice:
		return Object{"type": "array", "items": d.Schema(t.Elem())}
	case reflect.Map:
		return Object{"type": "object", "additionalProperties": d.Schema(t.Elem())}
	case reflect.Struct:
		if _, done := d.Named[t.Name()]; !done {
			d.Named[t.Name()] = nil // a type that refers to itself ends here
			d.Named[t.Name()] = d.Structure(t)
		}
		return Object{"$ref": d.Prefix + t.Name()}
	case reflect.Bool:
		return Object{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return Object{"type": "integer"}
	case reflect.Float64:
		return Object{"type": "number"}
	default:
		return Object{"type": "string"}
	}
}

func nullable(schema Object) Object {
	if kind, ok := schema["type"]; ok {
		schema["type"] = []any{kind, "null"}
		return schema
	}
	return Object{"anyOf": []Object{schema, {"type": "null"}}}
}

// Structure describes a struct itself, without a reference to its name.
func (d *Describer) Structure(t reflect.Type) Object {
	properties, required := make(Object), []string{}
	for _, f := range members(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		properties[name] = d.Schema(f.Type)
		if options != "omitempty" && options != "omitzero" {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	out := Object{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	if d.Closed[t] {
		out["additionalProperties"] = false
	}
	return out
}

// HasRequired reports whether a struct has members that are always there.
func HasRequired(t reflect.Type) bool {
	return slices.ContainsFunc(members(t), func(f reflect.StructField) bool {
		_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		return options != "omitempty" && options != "omitzero"
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
