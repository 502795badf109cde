package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// documents are the schemas of api/schema, by kind, made stricter than they are:
// a member that a schema does not name is an error here.
type documents struct {
	kinds map[string]*jsonschema.Schema
	items []*jsonschema.Schema // what stands in lists: a line of jsonl is one of them
}

var published = sync.OnceValues(func() (documents, error) {
	found := documents{kinds: make(map[string]*jsonschema.Schema)}
	paths, err := filepath.Glob(filepath.Join("..", "api", "schema", "*.json"))
	if err != nil || len(paths) == 0 {
		return found, fmt.Errorf("there are no schemas: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return found, err
		}
		schema, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
		if err != nil {
			return found, fmt.Errorf("%s: %w", path, err)
		}
		closeObjects(schema)
		kind := strings.TrimSuffix(filepath.Base(path), ".json")
		if err := c.AddResource(kind, schema); err != nil {
			return found, err
		}
		if found.kinds[kind], err = c.Compile(kind); err != nil {
			return found, err
		}
		members, _ := schema.(map[string]any)["properties"].(map[string]any)
		if _, list := members["items"]; list {
			item, err := c.Compile(kind + "#/properties/items/items")
			if err != nil {
				return found, err
			}
			found.items = append(found.items, item)
		}
	}
	return found, nil
})

// closeObjects has no object of a schema take members that it does not name.
func closeObjects(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		for _, part := range s {
			closeObjects(part)
		}
		if _, named := s["properties"].(map[string]any); named && s["type"] == "object" {
			s["additionalProperties"] = false
		}
	case []any:
		for _, part := range s {
			closeObjects(part)
		}
	}
}

// fit demands that JSON which a command printed is what api/schema says: the
// result on its standard output, warnings and a failure on its error output, where
// nothing else stands beside them.
func fit(stdout, stderr string) error {
	d, err := published()
	if err != nil {
		return err
	}
	if strings.HasPrefix(stdout, "{") {
		for values := json.NewDecoder(strings.NewReader(stdout)); ; {
			var value map[string]any
			if err := values.Decode(&value); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return fmt.Errorf("the output is not JSON: %w", err)
			}
			if err := d.take(value); err != nil {
				return err
			}
		}
	}
	asJSON := strings.HasPrefix(stdout, "{") || strings.HasPrefix(stderr, "{") || strings.Contains(stderr, "\n{")
	for line := range strings.Lines(stderr) {
		if !asJSON {
			break
		}
		var value map[string]any
		if err := json.Unmarshal([]byte(line), &value); err != nil {
			return fmt.Errorf("%q on the error output is not JSON: %w", line, err)
		}
		kind := "Error"
		if value["warning"] != nil {
			kind = "Warning"
		}
		if err := d.kinds[kind].Validate(value); err != nil {
			return err
		}
	}
	return nil
}

func (d documents) take(value map[string]any) error {
	if kind, ok := value["kind"].(string); ok && value["apiVersion"] != nil {
		schema, known := d.kinds[kind]
		if !known {
			return fmt.Errorf("there is no schema of the kind %s: name it in cmd/mintmark/documents.go and run go generate ./cmd/mintmark", kind)
		}
		return schema.Validate(value)
	}
	if !slices.ContainsFunc(d.items, func(item *jsonschema.Schema) bool { return item.Validate(value) == nil }) {
		return fmt.Errorf("what is no document is an item of no list either: %v", value)
	}
	return nil
}
