package message

import "strings"

// padding is what a pseudo-translation is stretched with.
const padding = " one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"

// accented makes of English what a translation may come to: every letter another,
// two fifths longer, and in brackets, so that what was glued together shows.
func accented(nodes []node) []node {
	letters := length(nodes)
	out := append([]node{literal("[")}, mapLiterals(nodes, accent)...)
	more := padding
	for len(more) < letters*2/5 {
		more += padding
	}
	return append(out, literal(accent(more[:(letters*2+4)/5])+"]"))
}

// length is how many characters a message itself has, at most.
func length(nodes []node) int {
	all := 0
	for _, n := range nodes {
		switch n := n.(type) {
		case literal:
			all += len([]rune(string(n)))
		case tag:
			all += length(n.nodes)
		case choice:
			longest := 0
			for _, of := range n.cases {
				longest = max(longest, length(of.nodes))
			}
			all += longest
		}
	}
	return all
}

func accent(s string) string {
	from := []rune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
	to := []rune("ÅƁÇÐÉƑĜĤÎĴĶĻṀÑÖÞǪŔŠŢÛṼŴẊÝŽåƀçðéƒĝĥîĵķļɱñöþǫŕšţûṽŵẋýž")
	return strings.Map(func(r rune) rune {
		for i, f := range from {
			if f == r {
				return to[i]
			}
		}
		return r
	}, s)
}

// mirrored makes of English what is read from right to left: each word between the
// marks of an override (UAX #9 section 2.2).
func mirrored(nodes []node) []node {
	return mapLiterals(nodes, func(s string) string {
		words := strings.Split(s, " ")
		for i, w := range words {
			if w != "" {
				words[i] = "\u202e" + w + "\u202c"
			}
		}
		return strings.Join(words, " ")
	})
}

// mapLiterals is a message with what it says itself changed.
func mapLiterals(nodes []node, fn func(string) string) []node {
	out := make([]node, len(nodes))
	for i, n := range nodes {
		switch n := n.(type) {
		case literal:
			out[i] = literal(fn(string(n)))
		case tag:
			out[i] = tag{n.name, mapLiterals(n.nodes, fn)}
		case choice:
			of := choice{name: n.name, plural: n.plural}
			for _, c := range n.cases {
				of.cases = append(of.cases, choiceCase{c.key, mapLiterals(c.nodes, fn)})
			}
			out[i] = of
		default:
			out[i] = n
		}
	}
	return out
}
