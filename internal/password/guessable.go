package password

import (
	"slices"
	"strings"
	"unicode"
)

// guessable says why a password is one that attackers try first, or "". What is
// compared is the whole password, without case and without the signs between
// its words: a good password may contain any of the words below.
func guessable(password string, words []string) string {
	bare := bareText(password)
	if bare == "" { // of signs alone
		bare = strings.Join(strings.Fields(password), "")
	}
	stem := strings.TrimRightFunc(bare, unicode.IsDigit)
	switch {
	case repeats(bare):
		return "This password repeats one piece. Choose another."
	case walks(bare) || len(stem) >= minWalk && walks(stem):
		return "This password follows the keyboard or the alphabet. Choose another."
	case slices.Contains(common(), bare) || slices.Contains(common(), stem):
		return "This password is one of those that are tried first. Choose another."
	case stem != "" && ofThisPlace(stem, words):
		return "This password is made of names of this place. Choose another."
	}
	return ""
}

// bareText is s in lower case without what stands between words.
func bareText(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// minWalk is how long a walk is that makes a password bad although digits
// follow it.
const minWalk = 8

// repeats reports whether s is one piece again and again, or nothing.
func repeats(s string) bool {
	if s == "" {
		return true
	}
	for n := 1; n <= len(s)/2; n++ {
		if s[n:] == s[:len(s)-n] {
			return true
		}
	}
	return false
}

// walks reports whether s goes along a row of keys or the alphabet, from
// anywhere, in either direction, over its end to its beginning.
func walks(s string) bool {
	backwards := []byte(s)
	slices.Reverse(backwards)
	for _, row := range []string{
		"1234567890", "!@#$%^&*()_+", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm",
		"azertyuiopqsdfghjklmwxcvbn", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "qazwsxedcrfvtgbyhnujmikolp", "q1w2e3r4t5y6u7i8o9p0",
	} {
		round := strings.Repeat(row, 2+len(s)/len(row))
		if strings.Contains(round, s) || strings.Contains(round, string(backwards)) {
			return true
		}
	}
	return false
}

// ofThisPlace reports whether s is a name of this place, or two of them joined.
func ofThisPlace(s string, words []string) bool {
	names := []string{""}
	for _, w := range words {
		parts := strings.FieldsFunc(w, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		for _, name := range append(parts, w) {
			names = append(names, bareText(name))
		}
	}
	for _, first := range names {
		if rest, ok := strings.CutPrefix(s, first); ok && slices.Contains(names, rest) {
			return true
		}
	}
	return false
}

// common are whole passwords of at least MinLength characters, with or without
// digits behind them, that are tried first; written as bareText gives them.
func common() []string {
	return strings.Fields(`
		passwordpassword123 passwordadministrator adminadministrator administratoradmin administratorpassword adminpasswordadmin
		defaultpassword mypasswordispassword thisismypassword thisisapassword thisisnotmypassword thisisasecret thisismysecret
		changethispassword changemechangeme pleasechangeme pleasechangethis changemeimmediately newpasswordplease mynewpassword
		letmeinletmein letmeinplease welcometothejungle welcomewelcome iloveyousomuch iloveyouforever iloveyoubaby iloveyouverymuch
		maytheforcebewithyou thequickbrownfox thequickbrownfoxjumps thequickbrownfoxjumpsoverthelazydog tobeornottobe
		tobeornottobethatisthequestion qwertyuiopasdf qwertypassword passwordqwerty supersecretpassword supersecretkey verysecretpassword
		averylongpassword averystrongpassword averysecurepassword mysecretpassword mysupersecretpassword areallylongpassword
		longpasswordlong trustnoonetrustno1 letmeinadministrator rootrootrootroot systemadministrator databasepassword
		superadministrator administratoradministrator masterpassword temporarypassword testtesttesttest testpassword testingpassword
		examplepassword samplepassword dummypassword placeholderpassword insertpasswordhere yourpasswordhere enteryourpassword
		unbelievable1234567 liverpoolfootballclub manchesterunited lordoftherings gameofthrones harrypotterharrypotter startrekstarwars
		barcelonabarcelona christopherchristopher alexanderalexander sunshinesunshine princessprincess dragondragondragon
		footballfootball baseballbaseball monkeymonkeymonkey jesuschristismylord godisgoodallthetime inthenameofthefather
	`)
}
