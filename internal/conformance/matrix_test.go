package conformance_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"mintmark/internal/jws"
	"mintmark/internal/liveset"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/conformance.md anew")

const page = "../../docs/conformance.md"

func algorithms() []jws.Algorithm { return []jws.Algorithm{jws.ES256, jws.EdDSA, jws.HS256} }

// state is a token, where it is in its life, and how it is sent.
type state struct {
	group, name string
	ask         func(h *house) question
	then        func(h *house, q *question) // happens after every door was asked once
	fresh       bool                        // it changes the node
	want        string                      // of every door, but for what follows
	needs       string                      // the demand that is made: doors that cannot be asked it are not
	header      bool                        // it is about the client's request: doors that are handed a token are not asked
	record      bool                        // what is wrong is known to the authority alone
	but         map[string]string           // doors that differ, and how
}

// wants is the class of a door, none when it cannot be asked.
func (s state) wants(d door, alg jws.Algorithm) string {
	but, differs := s.but[d.name]
	switch {
	case s.needs != "" && !strings.Contains(d.demands, s.needs):
		return none
	case d.name == "Go, offline" && alg == jws.HS256 && (s.want == allow || s.want == forbidden || s.record || differs):
		return invalid // its key is a secret
	case differs:
		return but
	case d.name == "console", s.header && !d.header:
		return none
	case d.name == "Go, offline" && s.record:
		return allow
	}
	return s.want
}

// Every door gives every token the same verdict, when it sees it first and when
// it knows it.
func TestEveryDoorGivesTheSameVerdict(t *testing.T) {
	rows := make(map[string][]string)
	for _, alg := range algorithms() {
		shared := newForge(t, alg)
		for _, s := range states() {
			t.Run(string(alg)+"/"+s.group+"/"+s.name, func(t *testing.T) {
				h := shared
				h.t = t
				if s.fresh || s.then != nil {
					h = newHouse(t, alg)
				}
				q := s.ask(h)
				if s.then != nil {
					for _, d := range doors() {
						if s.wants(d, alg) != none {
							d.ask(h, q)
						}
					}
					s.then(h, &q)
				}
				h.wantsOwnReason(s, q)
				var row []string
				for _, d := range doors() {
					row = append(row, h.verdict(d, q, s.wants(d, alg)))
				}
				if alg == jws.ES256 {
					rows[s.group+"/"+s.name] = row
				}
			})
		}
	}
	if !t.Failed() {
		publish(t, rows)
	}
}

// wantsOwnReason fails when what the key itself has signed is refused for its
// signature: then nothing else was looked at.
func (h *house) wantsOwnReason(s state, q question) {
	h.t.Helper()
	if !strings.HasPrefix(s.group, "header") && !strings.HasPrefix(s.group, "claims") {
		return
	}
	if v := h.live.Decide(q.token, liveset.Demand{}); v.Allow() || v.Reason == liveset.BadSignature {
		h.t.Errorf("the reason is %s", v.Reason)
	}
}

// verdict asks a door twice.
func (h *house) verdict(d door, q question, want string) string {
	h.t.Helper()
	if want == none {
		return none
	}
	for _, when := range []string{"first", "second"} {
		class, id := d.ask(h, q)
		if class != want {
			h.t.Errorf("%s, the %s time: %s, want %s", d.name, when, class, want)
		}
		if class == allow && id != q.id {
			h.t.Errorf("%s lets %q in, the token is %q", d.name, id, q.id)
		}
	}
	return want
}

// publish holds the page of the docs to what was seen.
func publish(t *testing.T, rows map[string][]string) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(pageHead)
	group := ""
	for _, s := range states() {
		if s.group != group {
			group = s.group
			fmt.Fprintf(&b, "\n## %s\n\n| the token |", strings.ToUpper(group[:1])+group[1:])
			for _, d := range doors() {
				fmt.Fprintf(&b, " %s |", d.name)
			}
			b.WriteString("\n|---|" + strings.Repeat("---|", len(doors())) + "\n")
		}
		fmt.Fprintf(&b, "| %s |", s.name)
		for _, class := range rows[s.group+"/"+s.name] {
			if class != s.want && class != none {
				class = "**" + class + "**"
			}
			fmt.Fprintf(&b, " %s |", class)
		}
		b.WriteString("\n")
	}
	if *update {
		must(t, os.WriteFile(page, b.Bytes(), 0o644))
	}
	written, err := os.ReadFile(page)
	must(t, err)
	if diff := cmp.Diff(string(written), b.String()); diff != "" {
		t.Errorf("docs/conformance.md is not what was seen; write it with -update (-written +seen):\n%s", diff)
	}
}

func TestTheMatrixIsLarge(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range states() {
		key := s.group + "/" + s.name
		if seen[key] {
			t.Errorf("%s is there twice", key)
		}
		seen[key] = true
		for name := range s.but {
			known := false
			for _, d := range doors() {
				known = known || d.name == name
			}
			if !known {
				t.Errorf("%s: there is no door %s", key, name)
			}
		}
	}
	if len(seen) < 60 {
		t.Errorf("%d states", len(seen))
	}
}
