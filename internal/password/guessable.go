package password

import (
	"strings"
	"unicode"
)

// guessable says why a whole password is one that attackers try first, or "".
// A good one may contain any of the pieces below: only a password that consists
// of nothing else is refused.
func guessable(password string, words []string) string {
	text := strings.ToLower(password)
	bare := letters(text)
	if bare == "" {
		bare = text // of signs alone
	}
	if p := period(bare); p > 0 && p <= len(bare)/2 {
		return "This password repeats one piece. Choose another."
	}
	var own []string
	for _, w := range words {
		w = strings.ToLower(w)
		own = append(append(own, letters(w)), strings.FieldsFunc(w, func(r rune) bool { return !unicode.IsLetter(r) })...)
	}
	found := pieces([]rune(text), own) | pieces([]rune(bare), own)
	switch {
	case bare == "correcthorsebatterystaple", found&tried != 0:
		return "This password is made of words that are tried first. Choose another."
	case found&place != 0:
		return "This password is made of names of this place. Choose another."
	case found&walk != 0:
		return "This password follows the keyboard or the alphabet. Choose another."
	}
	return ""
}

// The kinds of pieces that attackers put together.
const (
	tried = 1 << iota
	place
	walk
)

// maxLoose is how many digits and signs may stand between and around the pieces
// of a guessable password; with more it is no longer one.
const maxLoose = 10

// pieces answers the kinds of pieces that s consists of, or 0 when it does not.
func pieces(s []rune, own []string) int {
	type cover struct{ loose, kinds int }
	best := make([]*cover, len(s)+1) // best[i] covers s[:i] with the fewest loose signs
	best[0] = new(cover)
	reach := func(i int, c cover) {
		if c.loose <= maxLoose && (best[i] == nil || c.loose < best[i].loose) {
			best[i] = &c
		}
	}
	common := common()
	for i, c := range s {
		if best[i] == nil {
			continue
		}
		here := *best[i]
		switch {
		case unicode.IsSpace(c):
			reach(i+1, here)
		case !unicode.IsLetter(c):
			reach(i+1, cover{here.loose + 1, here.kinds})
		}
		for n := longestWalk(s[i:]); n >= 4; n-- {
			reach(i+n, cover{here.loose, here.kinds | walk})
		}
		for _, list := range []struct {
			words []string
			kind  int
		}{{common, tried}, {own, place}} {
			for _, w := range list.words {
				if n := spells(s[i:], w); n > 1 {
					reach(i+n, cover{here.loose, here.kinds | list.kind})
				}
			}
		}
	}
	if best[len(s)] == nil {
		return 0
	}
	return best[len(s)].kinds
}

// spells answers the length of the word that s begins with, or 0. Digits and
// signs may stand for the letters that they look like.
func spells(s []rune, word string) int {
	n := 0
	for _, w := range word {
		if n == len(s) || s[n] != w && !strings.ContainsRune(looksLike(s[n]), w) {
			return 0
		}
		n++
	}
	return n
}

func looksLike(r rune) string {
	switch r {
	case '0':
		return "o"
	case '1', '!', '|':
		return "il"
	case '3':
		return "e"
	case '4', '@':
		return "a"
	case '5', '$':
		return "s"
	case '7', '+':
		return "t"
	case '8':
		return "b"
	}
	return ""
}

// longestWalk is how far s begins with one sign or with a walk, which may start
// anywhere, go backwards and begin again at its end.
func longestWalk(s []rune) int {
	longest := 1
	for longest < len(s) && s[longest] == s[0] {
		longest++
	}
	for _, text := range walks() {
		w := []rune(text)
		for start, c := range w {
			if c != s[0] {
				continue
			}
			for _, step := range []int{1, len(w) - 1} {
				n := 1
				for at := (start + step) % len(w); n < len(s) && s[n] == w[at]; at = (at + step) % len(w) {
					n++
				}
				longest = max(longest, n)
			}
		}
	}
	return longest
}

// walks are what fingers type without thinking.
func walks() []string {
	return []string{
		"1234567890", "abcdefghijklmnopqrstuvwxyz", "!@#$%^&*()", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm",
		"azertyuiopqsdfghjklmwxcvbn", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "qazwsxedcrfvtgbyhnujmikolp", "q1w2e3r4t5y6u7i8o9p0",
	}
}

// common are the words and phrases of which people make the passwords that are
// tried first.
func common() []string {
	return strings.Fields(`
		password passwort passwords passwd pass passphrase letmein welcome admin administrator root login logon signin secret changeme default
		iloveyou monkey dragon sunshine princess football baseball master superman batman trustno qwerty qwertz azerty abc shadow hunter test
		testing temp temporary user guest server system manager service company office access token tokens api key hello world nothing
		my is the this that a an new old your our please change me let in to for and or not very super strong long secure love you i it
		january february march april may june july august september october november december spring summer autumn winter
		monday tuesday wednesday thursday friday saturday sunday
		maytheforcebewithyou thequickbrownfox jumpsoverthelazydog tobeornottobe thatisthequestion welcometothejungle
	`)
}

// letters is s without what stands between words.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsPunct(r) || unicode.IsSymbol(r) {
			return -1
		}
		return r
	}, s)
}

// period is the length in bytes of the shortest piece that s repeats, or 0.
func period(s string) int {
	for n := 1; n < len(s); n++ {
		if s[n:] == s[:len(s)-n] {
			return n
		}
	}
	return 0
}
