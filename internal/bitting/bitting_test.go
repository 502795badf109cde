package bitting_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"mintmark/internal/bitting"
)

func TestTheGlyphOfAnIdIsFixed(t *testing.T) {
	const id = "tok_7k3m9q2x0000000000000000aa"
	blocks := bitting.Blocks(id)
	if utf8.RuneCountInString(blocks) != 6 || blocks != bitting.Blocks(id) {
		t.Errorf("got %q", blocks)
	}
	for i, r := range []rune(blocks) {
		if got := bitting.Heights(id)[i]; r != '▁'+rune(got) || got > 7 {
			t.Errorf("cut %d: %c and %d", i, r, got)
		}
	}
	if path := bitting.Path(id); !strings.HasPrefix(path, "M0 14V") || !strings.HasSuffix(path, "H36V14Z") {
		t.Errorf("got %s", path)
	}
}

func TestTheHeightsAreTheFirstEighteenBitsOfTheDigest(t *testing.T) {
	// SHA-256("") begins e3b0c4: 111 000 111 011 000 011.
	if got, want := bitting.Heights(""), [6]byte{7, 0, 7, 3, 0, 3}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
