package password_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/password"
)

var cheap = password.Params{Memory: 64, Time: 1, Threads: 1}

func hasher() *password.Hasher { return password.NewHasher(cheap, 4, rand.Reader) }

func secret(s string) authority.Secret { return authority.NewSecret(s) }

func TestLengthIsCountedInCodePointsAsTypedAndNormalized(t *testing.T) {
	t.Parallel()
	h := hasher()
	for name, c := range map[string]struct {
		password string
		says     string // "": it may be used
	}{
		"nothing":                              {"", "at least 15 characters; this has 0"},
		"14 letters":                           {"zq8pXw3vLm7Rt5", "this has 14"},
		"15 letters":                           {"zq8pXw3vLm7Rt5k", ""},
		"15 letters of two bytes each":         {"жщюэыъйфцчшбвгд", ""},
		"14 of two bytes each":                 {"жщюэыъйфцчшбвг", "this has 14"},
		"15 signs of four bytes each":          {"🙂🚀🌍🎉🔥🌈🍀🐍🦀🧊🪵🧭🪐🛰🗿", ""},
		"spaces count":                         {"k q z v 4 x r j", ""},
		"8 letters with their accents apart":   {strings.Repeat("e\u0301", 8), "this has 8"},
		"one letter that stands for eighteen":  {"\ufdfa", "this has 1"},
		"64 letters":                           {strings.Repeat("zq8pXw3v", 7) + "Lm7Rt5kQ", ""},
		"1024":                                 {strings.Repeat("zq8pXw3v", 127) + "Lm7Rt5kQ", ""},
		"1025":                                 {strings.Repeat("zq8pXw3v", 128) + "L", "at most 1024"},
		"few that become more than 1024":       {strings.Repeat("\ufdfaq", 60), "at most 1024"},
		"not text":                             {"zq8pXw3vLm7Rt5k\xff", "not text"},
		"no rule of kinds of characters holds": {"only small letters and spaces", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := h.Check(secret(c.password))
			if (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
				t.Errorf("it says %q, want %q", got, c.says)
			}
		})
	}
}

func TestWhatIsTriedFirstIsRefusedWithItsReason(t *testing.T) {
	t.Parallel()
	h := hasher()
	for reason, passwords := range map[string][]string{
		"repeats one piece": {
			"aaaaaaaaaaaaaaa", "passwordpassword", "Password-password", "adminadminadminadmin", "abc abc abc abc abc", "111111111111111",
			"letmein LETMEIN", "               ", "!!!!!!!!!!!!!!!", "\u3000\u3000\u3000\u3000\u3000\u3000\u3000\u3000\u3000\u3000\u3000\u3000\u3000\u3000\u3000",
		},
		"follows the keyboard": {
			"123456789012345", "abcdefghijklmnop", "qwertyuiopasdfgh", "QWERTZUIOPASDFGH", "zyxwvutsrqponmlk", "543210987654321", "1qaz2wsx3edc4rfv",
			"qwertyuiop12345", "abcdefghijk-2026", "!@#$%^&*()_+!@#",
		},
		"tried first":         {"thisismypassword", "This is my password!", "Let Me In Please 1", "iloveyouforever99", "ｔｈｉｓｉｓｍｙｐａｓｓｗｏｒｄ"},
		"names of this place": {"mintmark-tokens-01", "Tokens-01 Mintmark", "maria.gonzales2026", "mintmark mariagonzales", "tokens.corp.example", "MintMark--Maria.Gonzales"},
	} {
		for _, text := range passwords {
			if got := h.Check(secret(text), "mintmark", "tokens-01", "maria.gonzales", "tokens.corp.example"); !strings.Contains(got, reason) {
				t.Errorf("%q: %q, want %q", text, got, reason)
			}
		}
	}
}

// A good password may hold any word: only the whole is compared.
func TestAGoodPasswordMayHoldAnyWord(t *testing.T) {
	t.Parallel()
	h := hasher()
	for _, text := range []string{
		"correct horse battery staple", "correct horse battery staple 4", "a-very-long-admin-password", "my password is not in the list", "test-password-for-ci-1",
		"mintmark keeps what maria mints", "qwerty and then something else", "834951726035418", "%&/(=?+*#';:_<>", "天地玄黄宇宙洪荒日月盈昃辰宿列张",
	} {
		if got := h.Check(secret(text), "mintmark", "tokens-01", "maria"); got != "" {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestThePasswordIsComparedWholeAndInOneForm(t *testing.T) {
	t.Parallel()
	h := hasher()
	long := strings.Repeat("x", 1000)
	for name, c := range map[string]struct {
		set, given string
		ok         bool
	}{
		"same":                   {"zq8pXw3vLm7Rt5k", "zq8pXw3vLm7Rt5k", true},
		"other case":             {"zq8pXw3vLm7Rt5k", "ZQ8PXW3VLM7RT5K", false},
		"one more":               {"zq8pXw3vLm7Rt5k", "zq8pXw3vLm7Rt5k ", false},
		"one less":               {"zq8pXw3vLm7Rt5k", "zq8pXw3vLm7Rt5", false},
		"same 72 bytes":          {long + "a", long + "b", false},
		"a NUL does not end it":  {"zq8pXw3v\x00Lm7Rt5k", "zq8pXw3v\x00another", false},
		"composed or decomposed": {"caf\u00e9 caf\u00e9 caf\u00e9", "cafe\u0301 cafe\u0301 cafe\u0301", true},
		"full width":             {"zq8pXw3vLm7Rt5k", "\uff5aq8pXw3vLm7Rt5k", true},
		"nothing":                {"zq8pXw3vLm7Rt5k", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			phc, err := h.Hash(t.Context(), secret(c.set))
			if err != nil {
				t.Fatal(err)
			}
			if ok, again, err := h.Verify(t.Context(), phc, secret(c.given)); ok != c.ok || again || err != nil {
				t.Errorf("got %v, %v, %v", ok, again, err)
			}
		})
	}
}

func TestEachHashHasASaltOfItsOwnAndHidesThePassword(t *testing.T) {
	t.Parallel()
	h := hasher()
	const text = "zq8pXw3vLm7Rt5k"
	seen := make(map[string]bool)
	for range 20 {
		phc, err := h.Hash(t.Context(), secret(text))
		if err != nil || seen[phc] || strings.Contains(phc, text) || !strings.HasPrefix(phc, "$argon2id$v=19$m=64,t=1,p=1$") {
			t.Fatalf("got %s, %v", phc, err)
		}
		seen[phc] = true
	}
}

func TestNobodysPasswordNeverMatches(t *testing.T) {
	t.Parallel()
	h := hasher()
	for _, text := range []string{"", "zq8pXw3vLm7Rt5k", strings.Repeat("\x00", 32)} {
		if ok, again, err := h.Verify(t.Context(), "", secret(text)); ok || again || err != nil {
			t.Errorf("%q: %v, %v, %v", text, ok, again, err)
		}
	}
}

func TestOtherCostsAskForANewHash(t *testing.T) {
	t.Parallel()
	old, err := hasher().Hash(t.Context(), secret("zq8pXw3vLm7Rt5k"))
	if err != nil {
		t.Fatal(err)
	}
	now := password.NewHasher(password.Params{Memory: 128, Time: 2, Threads: 1}, 1, rand.Reader)
	if ok, again, err := now.Verify(t.Context(), old, secret("zq8pXw3vLm7Rt5k")); !ok || !again || err != nil {
		t.Errorf("got %v, %v, %v", ok, again, err)
	}
	if ok, again, err := now.Verify(t.Context(), old, secret("another password")); ok || again || err != nil {
		t.Errorf("a wrong one: %v, %v, %v", ok, again, err)
	}
	if p := password.Recommended(); p.Memory < 19<<10 || p.Time < 2 || p.Threads < 1 {
		t.Errorf("the costs in use are %s", p)
	}
}

func TestADamagedHashIsAnErrorAndNoMatch(t *testing.T) {
	t.Parallel()
	h := hasher()
	good, err := h.Hash(t.Context(), secret("zq8pXw3vLm7Rt5k"))
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s has no %s", good, old)
		}
		return strings.Replace(good, old, with, 1)
	}
	for name, phc := range map[string]string{
		"other function": replace("argon2id", "argon2i"), "other version": replace("v=19", "v=16"), "no costs": replace("m=64,t=1,p=1", ""),
		"costs that go on": replace("p=1", "p=1x"), "a sign": replace("m=64", "m=+64"), "zeros in front": replace("m=64", "m=064"),
		"too little memory": replace("m=64", "m=7"), "all the memory": replace("m=64", "m=4294967295"), "more than fits": replace("m=64", "m=99999999999"),
		"no passes": replace("t=1", "t=0"), "passes without end": replace("t=1", "t=4294967295"), "no lanes": replace("p=1", "p=0"),
		"a part too many": good + "$", "a part too few": good[:strings.LastIndex(good, "$")], "something in front": "x" + good,
		"a short key": good[:len(good)-4], "not base64": good[:len(good)-1] + "!", "a short salt": replace(strings.Split(good, "$")[4], "AAAA"),
		"a salt that is not base64": replace(strings.Split(good, "$")[4], "!"), "text": "password",
	} {
		if ok, _, err := h.Verify(t.Context(), phc, secret("zq8pXw3vLm7Rt5k")); ok || err == nil || strings.Contains(err.Error(), good[20:]) {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

func TestWithoutRandomnessThereIsNoHash(t *testing.T) {
	t.Parallel()
	for _, source := range []io.Reader{iotest.ErrReader(io.ErrClosedPipe), strings.NewReader("too short")} {
		h := password.NewHasher(cheap, 1, source)
		if phc, err := h.Hash(t.Context(), secret("zq8pXw3vLm7Rt5k")); err == nil {
			t.Errorf("got %s", phc)
		}
	}
}

func TestWhoWaitsTooLongForAHashIsTurnedAway(t *testing.T) {
	t.Parallel()
	// One slot, taken by a hash that takes its time.
	slow := password.NewHasher(password.Params{Memory: 64 << 10, Time: 8, Threads: 1}, 1, rand.Reader)
	var group sync.WaitGroup
	begun := make(chan struct{})
	for range 3 {
		group.Go(func() {
			begun <- struct{}{}
			_, _ = slow.Hash(context.Background(), secret("zq8pXw3vLm7Rt5k"))
		})
		<-begun
	}
	ended, end := context.WithCancel(t.Context())
	end()
	turnedAway := 0
	for range 20 {
		_, _, err := slow.Verify(ended, "", secret("zq8pXw3vLm7Rt5k"))
		if errors.Is(err, authority.Unavailable) && errors.Is(err, context.Canceled) {
			turnedAway++
			break
		}
	}
	if turnedAway == 0 {
		t.Error("nobody is turned away")
	}
	group.Wait()
}

// Nobody's password takes as long to refuse as somebody's wrong one. The
// quickest of some attempts is what the machine's other work disturbs least.
func TestNobodysPasswordTakesAsLong(t *testing.T) {
	h := password.NewHasher(password.Params{Memory: 16 << 10, Time: 2, Threads: 1}, 1, rand.Reader)
	phc, err := h.Hash(t.Context(), secret("zq8pXw3vLm7Rt5k"))
	if err != nil {
		t.Fatal(err)
	}
	quickest := func(phc string) time.Duration {
		best := time.Hour
		for range 7 {
			began := time.Now()
			if ok, _, err := h.Verify(t.Context(), phc, secret("another password")); ok || err != nil {
				t.Fatal(ok, err)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	somebody, nobody := quickest(phc), quickest("")
	if ratio := float64(nobody) / float64(somebody); ratio < 0.5 || ratio > 2 {
		t.Errorf("somebody takes %s, nobody %s", somebody, nobody)
	}
}
