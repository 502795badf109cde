package httpapi

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"mintmark/api"
)

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
