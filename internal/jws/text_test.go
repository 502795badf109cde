package jws_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"mintmark/internal/jws"
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func TestATokenHasExactlyOneText(t *testing.T) {
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		raw := sign(t, f.key)
		first, last := strings.IndexByte(raw, '.'), strings.LastIndexByte(raw, '.')
		h, p, s := raw[:first], raw[first+1:last], raw[last+1:]
		std := strings.NewReplacer("-", "+", "_", "/")
		for name, other := range map[string]string{
			"empty": "", "dot": ".", "two dots": "..", "three dots": "...", "no header": "." + p + "." + s, "detached": h + ".." + s, "no signature": h + "." + p + ".",
			"two parts": h + "." + p, "one part": h, "four parts": raw + "." + s, "five parts, as in JWE": raw + "." + h + "." + p, "dot behind": raw + ".", "dot before": "." + raw,
			"space before": " " + raw, "space behind": raw + " ", "line break behind": raw + "\n", "carriage return": raw + "\r\n", "tab": "\t" + raw, "NUL behind": raw + "\x00",
			"break in the header": raw[:4] + "\n" + raw[4:], "break in the payload": h + "." + p[:4] + "\r\n" + p[4:] + "." + s, "break in the signature": raw[:len(raw)-4] + "\n" + raw[len(raw)-4:],
			"space in the signature": raw[:len(raw)-4] + " " + raw[len(raw)-4:], "padded header": h + "=." + p + "." + s, "padded payload": h + "." + p + "==." + s, "padded signature": raw + "=", "twice padded": raw + "==",
			"percent": h + "%2e" + p + "." + s, "ideographic dot": h + "\u3002" + p + "." + s, "byte order mark": "\ufeff" + raw, "not ASCII": raw + "é", "high bit": raw[:5] + "\xe1" + raw[6:], "quoted": `"` + raw + `"`,
			"JSON, flattened": `{"protected":"` + h + `","payload":"` + p + `","signature":"` + s + `"}`, "JSON, general": `{"payload":"` + p + `","signatures":[{"protected":"` + h + `","signature":"` + s + `"}]}`,
			"comma": raw + "," + raw, "scheme": "Bearer " + raw, "standard alphabet": std.Replace(raw) + "+", "slash": h + "." + p + "." + s[:3] + "/" + s[4:],
		} {
			if _, err := accept(other, f.key.Verifier()); err == nil {
				t.Errorf("%s is accepted", name)
			} else {
				wantFault(t, err, jws.Malformed)
			}
		}
	})
}

func TestUnusedTrailingBitsAreZero(t *testing.T) {
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		lengths := map[int]bool{}
		// Payloads of three lengths, so that every kind of ending is met in the
		// header, the payload and the signature.
		for _, pad := range []string{"", "a", "aa"} {
			h := `{"alg":"` + string(f.alg) + `","kid":"k` + pad + `","typ":"at+jwt"}`
			raw := forge(t, f.key, h, payload+pad)
			parts := strings.Split(raw, ".")
			for i, part := range parts {
				at := len(part) - 1
				for c := range len(alphabet) {
					other := part[:at] + alphabet[c:c+1]
					lenient, err := base64.RawURLEncoding.DecodeString(other)
					same, _ := base64.RawURLEncoding.DecodeString(part)
					if err != nil || string(lenient) != string(same) || other == part {
						continue
					}
					lengths[i] = true
					changed := append([]string(nil), parts...)
					changed[i] = other
					_, err = accept(strings.Join(changed, "."), f.key.Verifier())
					wantFault(t, err, jws.Malformed)
				}
			}
		}
		if len(lengths) != 3 {
			t.Errorf("another text of the same bytes was found for the parts %v only", lengths)
		}
	})
}

func TestACutOrLongerTokenIsRefused(t *testing.T) {
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		raw := sign(t, f.key)
		for i := range raw {
			for _, part := range []string{raw[:i], raw[i+1:], raw[:i] + raw[i+1:]} {
				if _, err := accept(part, f.key.Verifier()); err == nil {
					t.Fatalf("cut at %d, it is accepted", i)
				}
			}
		}
		for c := range len(alphabet) {
			for _, longer := range []string{raw + alphabet[c:c+1], raw + strings.Repeat(alphabet[c:c+1], 2), raw + strings.Repeat(alphabet[c:c+1], 4), alphabet[c:c+1] + raw} {
				if _, err := accept(longer, f.key.Verifier()); err == nil {
					t.Fatalf("%q is accepted with %q", f.alg, alphabet[c])
				}
			}
		}
		for i := range raw {
			for _, c := range []byte("A._-9\n \x00\x80") {
				if raw[i] == c {
					continue
				}
				if _, err := accept(raw[:i]+string(c)+raw[i+1:], f.key.Verifier()); err == nil {
					t.Fatalf("with %q at %d it is accepted", c, i)
				}
			}
		}
	})
}

func TestATokenHasABound(t *testing.T) {
	overEveryAlgorithm(t, func(t *testing.T, f family) {
		h := jws.Header{Alg: f.alg, Kid: "k1", Typ: "at+jwt"}
		var largest string
		for n := 5000; ; n++ {
			raw, err := jws.Sign(f.key, h, []byte(strings.Repeat("a", n)))
			if err != nil {
				break // what could not be read is not written
			}
			largest = raw
		}
		if len(largest) < jws.MaxSize-4 || len(largest) > jws.MaxSize {
			t.Fatalf("the largest token that is written has %d bytes", len(largest))
		}
		if _, err := accept(largest, f.key.Verifier()); err != nil {
			t.Errorf("the largest token is not read: %v", err)
		}
		// One byte more than is read, and much more.
		for _, n := range []int{jws.MaxSize + 1 - len(largest), 1 << 20} {
			_, err := accept(largest+strings.Repeat("A", n), f.key.Verifier())
			wantFault(t, err, jws.TooLarge)
		}
	})
}

func TestDotsCostNothing(t *testing.T) {
	for name, raw := range map[string]string{
		"many": strings.Repeat(".", 100_000), "many within the bound": strings.Repeat(".", jws.MaxSize), "many parts": strings.Repeat("a.", jws.MaxSize/2), "letters": strings.Repeat("a", 10<<20),
	} {
		if n := testing.AllocsPerRun(20, func() { _, _ = jws.ParseToken(raw) }); n > 6 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	result := testing.Benchmark(func(b *testing.B) {
		raw := strings.Repeat(".", 100_000)
		b.ReportAllocs()
		for b.Loop() {
			_, _ = jws.ParseToken(raw)
		}
	})
	if got := result.AllocedBytesPerOp(); got > 1024 {
		t.Errorf("100,000 dots take %d bytes", got)
	}
}
