package sqlstore

import (
	"strings"
	"unicode/utf8"
)

// clause is a condition and its arguments.
type clause struct {
	text []string
	args *[]any
}

func (c *clause) arg(v any) string {
	*c.args = append(*c.args, v)
	return place(len(*c.args))
}

func (c *clause) and(text string) { c.text = append(c.text, text) }

// or adds that one of some conditions holds; none of none does.
func (c *clause) or(any []string) {
	if len(any) == 0 {
		any = []string{"1 = 0"}
	}
	c.and("(" + strings.Join(any, " OR ") + ")")
}

func (c *clause) String() string {
	if len(c.text) == 0 {
		return "1 = 1"
	}
	return strings.Join(c.text, " AND ")
}

// lastRune sorts behind everything that a text may go on with.
const lastRune = string(utf8.MaxRune)

// prefixed is the condition that a text begins with another one. A range is what
// an index can be asked for.
func (c *clause) prefixed(column, prefix string) string {
	return column + " >= " + c.arg(prefix) + " AND " + column + " < " + c.arg(prefix+lastRune)
}
