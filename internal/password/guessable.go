package password

import (
	"strings"
	"unicode"
)

// walks are what fingers type without thinking, forwards and backwards.
func walks() []string {
	return []string{
		"1234567890", "0123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm",
		"azertyuiopqsdfghjklmwxcvbn", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "qazwsxedcrfvtgbyhnujmikolp",
	}
}

// common are whole passwords, or the words of which they are repeats, that
// attackers try first; digits do not count.
func common() []string {
	return []string{
		"password", "passwort", "passwd", "pass", "letmein", "welcome", "admin", "administrator", "root", "login", "secret", "changeme",
		"default", "iloveyou", "monkey", "dragon", "sunshine", "princess", "football", "baseball", "master", "superman", "trustno", "qwerty", "abc",
		"passwordpasswd", "adminadministrator", "adminpassword", "administratorpassword", "rootpassword", "defaultpassword", "changethispassword",
		"changemeplease", "letmeinplease", "mypasswordis", "thisismypassword", "thisisapassword", "passwordadmin", "welcometothejungle",
		"iloveyouforever", "iloveyousomuch", "maytheforcebewithyou", "thequickbrownfox", "thequickbrownfoxjumpsoverthelazydog", "tobeornottobe",
	}
}

// guessable says why a whole password is one that attackers try first, or "".
// It compares whole passwords: a good one may contain any of these.
func guessable(password string, words []string) string {
	text := letters(password)
	switch {
	case period(text) > 0 && period(text) <= len(text)/2:
		return "This password repeats one piece. Choose another."
	case isWalk(text):
		return "This password follows the keyboard or the alphabet. Choose another."
	}
	var own []string
	for _, w := range words {
		own = append(own, letters(w))
		own = append(own, strings.FieldsFunc(strings.ToLower(w), func(r rune) bool { return !unicode.IsLetter(r) })...)
	}
	switch {
	case oneOf(text, own) != "":
		return "This password is a name of this place. Choose another."
	case oneOf(text, common()) != "":
		return "This password is one of those that are tried first. Choose another."
	}
	return ""
}

// letters is the password in lower case without what stands between words.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsPunct(r) || unicode.IsSymbol(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// period is the length of the shortest piece that s repeats, or 0.
func period(s string) int {
	for n := 1; n < len(s); n++ {
		if s[n:] == s[:len(s)-n] {
			return n
		}
	}
	return 0
}

func isWalk(s string) bool {
	for _, w := range walks() {
		back := reverse(w)
		if strings.Contains(w+w+w, s) || strings.Contains(back+back+back, s) {
			return true
		}
	}
	return s == ""
}

func reverse(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// oneOf answers the word that s is: the word itself or repeats of it, with any
// digits before, between and behind.
func oneOf(s string, words []string) string {
	bare := strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, s)
	for _, w := range words {
		if len(w) > 1 && bare != "" && len(bare)%len(w) == 0 && strings.Repeat(w, len(bare)/len(w)) == bare {
			return w
		}
	}
	return ""
}
