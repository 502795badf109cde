package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"mintmark/api"
	"mintmark/internal/jsonschema"
)

// listed is a list as the commands print it.
type listed[T any] struct {
	Items []T `json:"items"`
}

// documents are the JSON documents that commands print, by kind: what stands in
// them beside apiVersion and kind. Of more than one value each is a form that the
// document can have.
func documents() map[string][]any {
	return map[string][]any{
		"Admin":          {api.Admin{}},
		"AdminList":      {listed[api.Admin]{}},
		"Applied":        {api.Applied{}},
		"Backup":         {backedUp{}},
		"Bench":          {benchFigures{}},
		"Bundle":         {bundle{}},
		"Chain":          {chain{}},
		"CheckList":      {listed[api.Check]{}},
		"Configuration":  {configured{}},
		"DifferenceList": {listed[api.Difference]{}},
		"Discarded":      {api.Discarded{}},
		"DryRun":         {rehearsed{}},
		"EventList":      {api.EventList{}},
		"Evidence":       {api.Evidence{}},
		"FindingList":    {api.Findings{}},
		"Key":            {api.Key{}},
		"KeyList":        {listed[api.Key]{}},
		"KeysResealed":   {api.KeysResealed{}},
		"KeysReset":      {api.KeysReset{}},
		"KeysRotated":    {api.KeysRotated{}},
		"Migrated":       {migrated{}},
		"Property":       {api.Property{}},
		"PropertyList":   {properties{}},
		"Restored":       {restored{}},
		"Staged":         {api.Staged{}},
		"Status":         {standing{}, gone{}},
		"Stopped":        {halted{}},
		"Token":          {api.Token{}, api.IssuedToken{}},
		"TokenList":      {api.TokenList{}},
		"TokenUsage":     {api.TokenUsage{}},
		"Upgraded":       {upgraded{}},
		"Version":        {built{}},
	}
}

// schemas describes every document, and what the error output says beside them, by
// the name of its file.
func schemas() (map[string][]byte, error) {
	out := make(map[string][]byte)
	add := func(name string, schema jsonschema.Object) error {
		schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
		schema["$id"] = "urn:" + apiVersion + ":" + name
		schema["title"] = name
		text, err := json.MarshalIndent(schema, "", "  ")
		out[name+".json"] = append(text, '\n')
		return err
	}
	for kind, forms := range documents() {
		d := jsonschema.Describer{Prefix: "#/$defs/", Named: make(jsonschema.Object)}
		var described []jsonschema.Object
		for _, form := range forms {
			described = append(described, ofKind(kind, d.Structure(reflect.TypeOf(form))))
		}
		schema := described[0]
		if len(described) > 1 {
			schema = jsonschema.Object{"anyOf": described}
		}
		if len(d.Named) > 0 {
			schema["$defs"] = d.Named
		}
		if err := add(kind, schema); err != nil {
			return nil, err
		}
	}
	for name, form := range map[string]any{"Error": failed{}, "Warning": warned{}} {
		d := jsonschema.Describer{Prefix: "#/$defs/", Named: make(jsonschema.Object)}
		said := d.Structure(reflect.TypeOf(form))
		said["$defs"] = d.Named
		if err := add(name, said); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ofKind adds what every document says of itself.
func ofKind(kind string, schema jsonschema.Object) jsonschema.Object {
	members, _ := schema["properties"].(jsonschema.Object)
	members["apiVersion"] = jsonschema.Object{"const": apiVersion}
	members["kind"] = jsonschema.Object{"const": kind}
	required, _ := schema["required"].([]string)
	schema["required"] = append([]string{"apiVersion", "kind"}, required...)
	return schema
}

// writeFiles writes files that everybody may read into a folder, which is made
// when it is not there.
func writeFiles(folder string, files map[string][]byte) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(folder, name), files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}
