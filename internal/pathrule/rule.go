package pathrule

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mintmark/internal/authority"
)

// Rule is what the paths under one prefix demand.
type Rule struct {
	Methods []string // empty: every method; GET is HEAD too
	Prefix  string   // whole segments: /admin is also /admin/x, and never /administrator
	Public  bool     // no token is asked for; nothing else is demanded
	Role    authority.Role
	Tags    []string // every one is needed
}

// Rules is a list of rules that can be looked up: only Join makes one.
type Rules []Rule

// ParsePublic reads public paths, separated by commas: each is a path, or methods
// joined by "|" and a path. "/healthz, GET|OPTIONS /docs".
func ParsePublic(text string) ([]Rule, error) {
	return parse(text, func(r *Rule, demands []string) error {
		if len(demands) > 0 {
			return fmt.Errorf("%s is public: it demands nothing, so nothing follows it", r.Prefix)
		}
		r.Public = true
		return nil
	})
}

// Parse reads rules, separated by commas: each is a path, or methods joined by
// "|" and a path, and what it demands. "/admin role=admin, POST|PUT /data
// tag=team:data".
func Parse(text string) ([]Rule, error) {
	return parse(text, func(r *Rule, demands []string) error {
		if len(demands) == 0 {
			return fmt.Errorf("%s demands nothing: add role=admin, role=user or tag=name:value", r.Prefix)
		}
		for _, d := range demands {
			if err := r.demand(d); err != nil {
				return err
			}
		}
		return nil
	})
}

func parse(text string, finish func(*Rule, []string) error) ([]Rule, error) {
	var rules []Rule
	for item := range strings.SplitSeq(text, ",") {
		words := strings.Fields(item)
		if len(words) == 0 {
			return nil, errors.New("a rule is empty: there is a comma too many")
		}
		var r Rule
		if !strings.HasPrefix(words[0], "/") {
			if err := r.methods(words[0]); err != nil {
				return nil, err
			}
			words = words[1:]
		}
		if len(words) == 0 || !strings.HasPrefix(words[0], "/") {
			return nil, fmt.Errorf("%s: after the methods comes a path, which begins with /", strconv.Quote(strings.TrimSpace(item)))
		}
		if err := checkPrefix(words[0]); err != nil {
			return nil, err
		}
		r.Prefix = words[0]
		if err := finish(&r, words[1:]); err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// methods reads methods joined by "|". They are compared as they are (RFC 9110
// section 9.1), so one in lower case is a mistake.
func (r *Rule) methods(text string) error {
	for m := range strings.SplitSeq(text, "|") {
		switch {
		case !IsMethod(m):
			return fmt.Errorf("%s is not a method in capitals, or several joined by |", strconv.Quote(text))
		case m == "HEAD":
			return errors.New("HEAD goes with GET: what is demanded of one is demanded of the other")
		case slices.Contains(r.Methods, m):
			return fmt.Errorf("%s is there twice", m)
		}
		r.Methods = append(r.Methods, m)
	}
	return nil
}

// IsMethod takes methods in capitals. Many servers take "get" for GET, so that a
// rule for GET would not be asked.
func IsMethod(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return (c < 'A' || c > 'Z') && c != '-' })
}

// checkPrefix takes plain paths only: a rule says what it means.
func checkPrefix(s string) error {
	p, ok := Read(s)
	switch {
	case !ok || p.escaped != s || strings.Contains(s, "%"):
		return fmt.Errorf("%s is not a plain path: letters, digits and -._~!$&'()*+=:@ in segments, without escapes and dot segments", strconv.Quote(s))
	case s != "/" && strings.HasSuffix(s, "/"):
		return fmt.Errorf("%s: leave the last slash away; a rule is for the path and all that is below it", strconv.Quote(s))
	}
	return nil
}

func (r *Rule) demand(text string) error {
	name, value, _ := strings.Cut(text, "=")
	switch name {
	case "role":
		role := authority.Role(value)
		switch {
		case role != authority.RoleAdmin && role != authority.RoleUser:
			return fmt.Errorf("%s: a path demands role=admin or role=user", r.Prefix)
		case r.Role != "":
			return fmt.Errorf("%s demands a role twice", r.Prefix)
		}
		r.Role = role
	case "tag":
		if tag, err := authority.ParseTag(value); err != nil || tag != value {
			return fmt.Errorf("%s: %s is not a tag; a path demands tag=name:value", r.Prefix, strconv.Quote(value))
		}
		if slices.Contains(r.Tags, value) {
			return fmt.Errorf("%s demands %s twice", r.Prefix, value)
		}
		r.Tags = append(r.Tags, value)
	default:
		return fmt.Errorf("%s: %s is no demand; there are role=admin, role=user and tag=name:value", r.Prefix, strconv.Quote(text))
	}
	return nil
}

// String writes a rule in the form in which it is read.
func (r Rule) String() string {
	words := []string{r.Prefix}
	if len(r.Methods) > 0 {
		words = []string{strings.Join(r.Methods, "|"), r.Prefix}
	}
	if r.Role != "" {
		words = append(words, "role="+string(r.Role))
	}
	for _, tag := range r.Tags {
		words = append(words, "tag="+tag)
	}
	return strings.Join(words, " ")
}

// Text writes rules in the form in which they are read.
func Text(rules []Rule) string {
	texts := make([]string, len(rules))
	for i, r := range rules {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}

// Join makes rules of lists of them. Two for one path that meet in a method are
// an error: neither is the stronger.
func Join(lists ...[]Rule) (Rules, error) {
	all := slices.Concat(lists...)
	for i, r := range all {
		for _, other := range all[:i] {
			if !strings.EqualFold(r.Prefix, other.Prefix) || (len(r.Methods) == 0) != (len(other.Methods) == 0) {
				continue
			}
			if len(r.Methods) == 0 || slices.ContainsFunc(r.Methods, func(m string) bool { return slices.Contains(other.Methods, m) }) {
				return nil, fmt.Errorf("%q and %q are for the same path and method", other, r)
			}
		}
	}
	// The longest prefix wins; of two for one path the one that names methods.
	slices.SortStableFunc(all, func(a, b Rule) int {
		if d := len(b.Prefix) - len(a.Prefix); d != 0 {
			return d
		}
		return len(b.Methods) - len(a.Methods)
	})
	return all, nil
}

// At answers the rule for a request: of those that are for its method and its
// path the one with the longest prefix. Without one, any valid token passes: the
// zero Rule. Many servers take /Admin for /admin, so a demand is made of either;
// a path is public in the very form that the rule names.
func (r Rules) At(method string, p Path) Rule {
	for i := range r {
		if rule := &r[i]; rule.isFor(method) && covers(rule.Prefix, p.plain, rule.Public) {
			return *rule
		}
	}
	return Rule{}
}

func (r *Rule) isFor(method string) bool {
	if method == "HEAD" {
		method = "GET"
	}
	return len(r.Methods) == 0 || slices.Contains(r.Methods, method)
}

// covers reports whether a path is the prefix or below it, segment by segment.
func covers(prefix, path string, exact bool) bool {
	if prefix == "/" {
		return true
	}
	for prefix != "" {
		if path == "" {
			return false
		}
		var want, got string
		want, prefix = cutSegment(prefix)
		got, path = cutSegment(path)
		if got != want && (exact || !strings.EqualFold(got, want)) {
			return false
		}
	}
	return true
}

// cutSegment cuts the first segment, with its slash in front, off a path.
func cutSegment(path string) (segment, rest string) {
	if i := strings.IndexByte(path[1:], '/'); i >= 0 {
		return path[:i+1], path[i+1:]
	}
	return path, ""
}
