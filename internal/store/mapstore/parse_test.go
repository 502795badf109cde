package mapstore

import (
	"fmt"
	"strings"
	"testing"

	"mintmark/internal/authority"
)

// TestNoFlippedBitIsRead flips each bit of a token file and of a state file of
// 4 KiB, and puts a line end and a zero in place of each byte.
func TestNoFlippedBitIsRead(t *testing.T) {
	st, events := fixture()
	l := ledger{}
	entries, err := l.chain(events)
	if err != nil {
		t.Fatal(err)
	}
	c, e := codecsOf(&file{}, &file{}), new(edit)
	for i := range 30 {
		add(&st.tokens, e, c.token, authority.Token{ID: authority.TokenID(fmt.Sprintf("tok_%026d", 100+i)), ClientID: "batch", Role: "user", Description: "a token of many"})
		add(&st.admins, e, c.admin, authority.Admin{Name: fmt.Sprint("admin-", i), PasswordHash: strings.Repeat("x", 70)})
	}
	for _, format := range []string{tokensFormat, stateFormat} {
		var w writer
		text, err := w.compose(&file{format: format, revision: 3}, &st, l.head(entries), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) < 4<<10 || len(text) > 6<<10 {
			t.Fatalf("%s: %d bytes", format, len(text))
		}
		if _, err := parse(format, text); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		for i := range text {
			was := text[i]
			for _, other := range append(flips(was), '\n', 0) {
				if text[i] = other; other == was {
					continue
				}
				if _, err := parse(format, text); err == nil {
					t.Fatalf("%s: byte %d was read as %q instead of %q", format, i, other, was)
				}
			}
			text[i] = was
		}
	}
}

// flips answers b with one bit flipped, for each bit.
func flips(b byte) []byte {
	var out []byte
	for bit := range 8 {
		out = append(out, b^1<<bit)
	}
	return out
}
