// Package strictjson reads JSON that has exactly one reading: RFC 8259, in
// UTF-8 without a byte order mark, no duplicate member names, no lone
// surrogates, bounded depth, nothing behind the value.
//
// It touches nothing and imports nothing of ours. The one hard idea: a document
// that two readers could read differently is refused before anybody reads it.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// MaxDepth is how deeply arrays and objects may nest.
const MaxDepth = 16

// Check reports why data is not one strict JSON value, or nil.
func Check(data []byte) error {
	s := scanner{json: string(data)}
	return s.whole()
}

// Member is one member of an object: its name without escapes, and its value as
// it stands in the text.
type Member struct {
	Name  string
	Value []byte
}

// Members checks data and reads the members of the object that it is, in their
// order.
func Members(data []byte) ([]Member, error) {
	fields, err := Fields(make([]Field, 0, 12), string(data))
	if err != nil {
		return nil, err
	}
	list := make([]Member, len(fields))
	for i, f := range fields {
		list[i] = Member{f.Name, []byte(f.Value)}
	}
	return list, nil
}

// Elements checks data and reads the elements of the array that it is, in their
// order.
func Elements(data []byte) ([][]byte, error) {
	items, err := Items(make([]Field, 0, 4), string(data))
	if err != nil {
		return nil, err
	}
	list := make([][]byte, len(items))
	for i, item := range items {
		list[i] = []byte(item.Value)
	}
	return list, nil
}

// Field is a member of an object, or an element of an array, which has no name.
// Both are parts of the text that was read, but for a name with escapes.
type Field struct{ Name, Value string }

// Fields is Members for whoever must not wait for memory: it appends to a slice
// of the caller, and copies nothing.
func Fields(to []Field, text string) ([]Field, error) {
	s := scanner{json: text}
	if s.space(); !s.begins('{') {
		return nil, s.isNot("an object")
	}
	var seen names
	more, err := s.open('}'), error(nil)
	for more {
		var f Field
		if f, more, err = s.member(&seen, 1); err == nil {
			to = append(to, f)
		}
	}
	return to, s.end(err)
}

// Items is Elements in the manner of Fields.
func Items(to []Field, text string) ([]Field, error) {
	s := scanner{json: text}
	if s.space(); !s.begins('[') {
		return nil, s.isNot("an array")
	}
	more, err := s.open(']'), error(nil)
	for more {
		var f Field
		if f.Value, more, err = s.within(1, ']'); err == nil {
			to = append(to, f)
		}
	}
	return to, s.end(err)
}

// Text checks data and reads the string that it is.
func Text(data []byte) (string, error) {
	s := scanner{json: string(data)}
	if s.space(); s.at >= len(data) || data[s.at] != '"' {
		return "", errors.New("it is not a string")
	}
	text, err := s.text()
	if err != nil {
		return "", err
	}
	if s.space(); s.at != len(data) {
		return "", errors.New("something follows the string")
	}
	return text, nil
}

// Unquoted reads the string that a value is that Fields or Items found.
func Unquoted(value string) (string, error) {
	if value[0] != '"' {
		return "", errors.New("it is not a string")
	}
	s := scanner{json: value}
	if strings.IndexByte(value, '\\') >= 0 {
		return s.text()
	}
	return value[1 : len(value)-1], nil
}

// Decode checks data and decodes it into a pointer. Members that into does not
// have, in exact case, and null for what cannot be null are refused by name.
func Decode(data []byte, into any) error {
	if err := Check(data); err != nil {
		return err
	}
	if err := exactMembers(data, reflect.TypeOf(into)); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return plain(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the value")
	}
	return nil
}

// plain drops what encoding/json says of Go types.
func plain(err error) error {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) {
		kind, _, _ := strings.Cut(t.Value, " ") // a number may follow, and it is the sender's
		article := "a"
		if kind == "array" || kind == "object" {
			article = "an"
		}
		return fmt.Errorf("member %q cannot be %s %s", t.Field, article, kind)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// exactMembers refuses members that encoding/json would match in another case.
func exactMembers(data []byte, t reflect.Type) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || implements(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		var members map[string]json.RawMessage
		if json.Unmarshal(data, &members) != nil {
			return nil // the decoder says it better
		}
		fields := fieldsOf(t)
		for name, raw := range members {
			field, ok := fields[name]
			if !ok {
				return fmt.Errorf("unknown member %q", name)
			}
			if string(raw) == "null" && !nullable(field) {
				return fmt.Errorf("member %q cannot be null", name)
			}
			if err := exactMembers(raw, field); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Array:
		var items []json.RawMessage
		if e := t.Elem().Kind(); e != reflect.Struct && e != reflect.Pointer && e != reflect.Slice && e != reflect.Map || json.Unmarshal(data, &items) != nil {
			return nil
		}
		for _, raw := range items {
			if err := exactMembers(raw, t.Elem()); err != nil {
				return err
			}
		}
	case reflect.Map:
		var members map[string]json.RawMessage
		if json.Unmarshal(data, &members) != nil {
			return nil
		}
		for _, raw := range members {
			if err := exactMembers(raw, t.Elem()); err != nil {
				return err
			}
		}
	default:
	}
	return nil
}

// nullable reports whether null says anything for a type: encoding/json passes
// over it for the others, as if the member were absent.
func nullable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
		return true
	default:
		return implements(t)
	}
}

func implements(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			for n, ft := range fieldsOf(embedded) {
				fields[n] = ft
			}
		case !f.IsExported() || name == "-":
		case name == "":
			fields[f.Name] = f.Type
		default:
			fields[name] = f.Type
		}
	}
	return fields
}
