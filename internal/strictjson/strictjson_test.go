package strictjson_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"mintmark/internal/corpora"
	"mintmark/internal/strictjson"

	"github.com/google/go-cmp/cmp"
)

// refusedThoughJSON are documents of the corpus that are JSON and have two
// readings: docs/decisions/0007-json.md.
func refusedThoughJSON(name string) bool {
	return strings.HasPrefix(name, "y_object_duplicate")
}

// takenByDecision: of what RFC 8259 leaves open, we read numbers of any size
// (the type that they are for decides), and nothing else.
func takenByDecision(name string) bool { return strings.HasPrefix(name, "i_number_") }

func TestEveryDocumentOfTheCorpusIsDecided(t *testing.T) {
	kinds := map[string]int{}
	for name, doc := range corpora.JSON(t) {
		err := strictjson.Check(doc)
		kinds[name[:2]]++
		want := strings.HasPrefix(name, "y_") && !refusedThoughJSON(name) || takenByDecision(name)
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && !json.Valid(doc) {
			t.Errorf("%s is JSON for us alone", name)
		}
		var into any
		if got := strictjson.Decode(doc, &into); err != nil && got == nil {
			t.Errorf("%s is decoded though it is refused", name)
		}
		var record struct{ A, B string }
		if strictjson.Decode(doc, &record) == nil && err != nil {
			t.Errorf("%s is decoded into a record", name)
		}
	}
	for _, kind := range []string{"y_", "n_", "i_"} {
		if kinds[kind] < 10 {
			t.Errorf("%d documents of the kind %s", kinds[kind], kind)
		}
	}
}

func TestARefusalSaysWhereAndWhy(t *testing.T) {
	for text, want := range map[string]string{
		``: "at byte 0: it ends too early", `{"a":1,"\u0061":2}`: `at byte 15: member "a" is there twice`, `{} {}`: "at byte 3: something follows the value", "\ufeff{}": "at byte 0: no value begins here",
		`{"a" 1}`: "a colon is missing", `[1 2]`: "a comma is missing", `{1}`: "a member name is missing", `01`: "malformed", `"\x"`: "the escape is unknown", `"\ud800"`: "a surrogate stands alone",
		"\"\x01\"": "a control character stands in a string", "\"\xff\"": "it is not UTF-8", strings.Repeat("[", 17): "it nests too deeply", `"\u12`: "the escape is malformed", `tru`: "no value begins here",
	} {
		if err := strictjson.Check([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

type record struct {
	embedded
	Name    string            `json:"name"`
	Count   int               `json:"count,omitempty"`
	When    time.Time         `json:"when"`
	End     *time.Time        `json:"end"`
	Inner   inner             `json:"inner"`
	Pointer *inner            `json:"pointer"`
	List    []inner           `json:"list"`
	Nested  [][]inner         `json:"nested"`
	Map     map[string]inner  `json:"map"`
	Words   []string          `json:"words"`
	Any     any               `json:"any"`
	Raw     json.RawMessage   `json:"raw"`
	Texts   map[string]string `json:"texts"`
	Plain   bool
	Hidden  string `json:"-"`
}

type embedded struct {
	Deep string `json:"deep"`
}

type inner struct {
	A string `json:"a"`
}

func TestDecodeReadsWhatWasWritten(t *testing.T) {
	end := time.Date(2026, 11, 23, 14, 8, 2, 0, time.UTC)
	want := record{
		embedded: embedded{"d"}, Name: "n", Count: 1, When: end, End: &end, Inner: inner{"i"}, Pointer: &inner{"p"}, List: []inner{{"l"}}, Nested: [][]inner{{{"x"}}},
		Map: map[string]inner{"K": {"m"}}, Words: []string{"w"}, Any: "any", Raw: json.RawMessage(`{"A":1}`), Texts: map[string]string{"A": "a", "a": "A"}, Plain: true,
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got record
	if err := strictjson.Decode(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(record{})); diff != "" {
		t.Error(diff)
	}
	// What cannot be null is not read as absent; what can be, is null.
	got = record{}
	if err := strictjson.Decode([]byte(`{"end":null,"pointer":null,"list":null,"map":null,"any":null,"raw":null,"when":null}`), &got); err != nil {
		t.Error(err)
	}
}

func TestDecodeNamesTheMemberAtFault(t *testing.T) {
	for text, want := range map[string]string{
		`{"colour":1}`: `unknown member "colour"`, `{"Name":"x"}`: `unknown member "Name"`, `{"NAME":"x"}`: `unknown member "NAME"`, `{"plain":true}`: `unknown member "plain"`, `{"Hidden":"x"}`: `unknown member "Hidden"`,
		`{"embedded":{}}`: `unknown member "embedded"`, `{"Deep":"x"}`: `unknown member "Deep"`, "{\"wor\u212as\":[]}": "unknown member", `{"word\u017f":[]}`: "unknown member",
		`{"inner":{"A":"x"}}`: `unknown member "A"`, `{"pointer":{"b":1}}`: `unknown member "b"`, `{"list":[{"a":"x"},{"A":"x"}]}`: `unknown member "A"`, `{"nested":[[{"A":"x"}]]}`: `unknown member "A"`, `{"map":{"k":{"A":"x"}}}`: `unknown member "A"`,
		`{"name":null}`: `member "name" cannot be null`, `{"count":null}`: `member "count" cannot be null`, `{"inner":null}`: `member "inner" cannot be null`, `{"Plain":null}`: `member "Plain" cannot be null`, `{"list":[{"a":null}]}`: `member "a" cannot be null`,
		`{"name":1}`: `member "name" cannot be a number`, `{"name":["secret"]}`: `member "name" cannot be an array`, `{"count":"1"}`: `member "count" cannot be a string`, `{"count":1.5}`: `member "count" cannot be a number`, `{"count":98765432109876543210}`: `member "count" cannot be a number`,
		`{"inner":[]}`: `member "inner" cannot be an array`, `{"words":{}}`: `member "words" cannot be an object`, `{"when":"soon"}`: "parsing time", `{"name":"a","name":"b"}`: `member "name" is there twice`, `{"name":"a"}{}`: "something follows", `[]`: "cannot be an array", `1`: "cannot be a number",
	} {
		err := strictjson.Decode([]byte(text), new(record))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "Go ") || strings.Contains(err.Error(), "98765") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v tells too much", text, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, doc := range corpora.JSON(f) {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if strictjson.Check(doc) != nil {
			return
		}
		if !json.Valid(doc) {
			t.Fatal("it is JSON for us alone")
		}
		var value any
		if err := strictjson.Decode(doc, &value); err != nil {
			if strings.Contains(err.Error(), "cannot be a number") {
				return // too large for a float
			}
			t.Fatalf("checked and not decoded: %v", err)
		}
		// What one reading wrote has the same reading.
		again, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var second any
		if err := strictjson.Decode(again, &second); err != nil {
			t.Fatalf("read, written and not read: %v", err)
		}
		if diff := cmp.Diff(value, second); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"n","list":[{"a":"x"}],"map":{"k":{"a":"y"}}}`))
	f.Add([]byte(`{"Name":"n"}`))
	f.Add([]byte(`{"words":null,"when":"2026-11-23T14:08:02Z"}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var got record
		err := strictjson.Decode(doc, &got)
		if err != nil {
			if strings.Contains(err.Error(), "Go ") {
				t.Fatalf("it speaks of Go types: %v", err)
			}
			return
		}
		// Whoever accepts it strictly agrees with the lenient reader, and writes
		// what is accepted again.
		var lenient record
		if err := json.Unmarshal(doc, &lenient); err != nil {
			t.Fatalf("accepted by us alone: %v", err)
		}
		if diff := cmp.Diff(lenient, got, cmp.AllowUnexported(record{})); diff != "" {
			t.Fatal(diff)
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Skip(err) // a year that RFC 3339 cannot write
		}
		if err := strictjson.Decode(text, new(record)); err != nil {
			t.Fatalf("written and not read: %v\n%s", err, text)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	doc := []byte(fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":"at+jwt"}`, strings.Repeat("k", 43)))
	b.ReportAllocs()
	for b.Loop() {
		if err := strictjson.Check(doc); err != nil {
			b.Fatal(err)
		}
	}
}
