// Package bitting draws an id as the profile of a key: six cuts of eight
// heights. It is a recognition aid for people, never a check (18 bits), and
// always stands beside the id.
//
// It touches nothing.
package bitting

import (
	"crypto/sha256"
	"strconv"
	"strings"
)

const cuts = 6

// Heights answers six heights from 0 to 7: the first 18 bits of the SHA-256 of
// the id, three bits each.
func Heights(id string) [cuts]byte {
	sum := sha256.Sum256([]byte(id))
	bits := uint32(sum[0])<<16 | uint32(sum[1])<<8 | uint32(sum[2])
	var h [cuts]byte
	for i := range h {
		h[i] = byte(bits >> (21 - 3*i) & 7)
	}
	return h
}

// Blocks draws the glyph in a terminal: ▇█▇▄▆▃.
func Blocks(id string) string {
	var b strings.Builder
	for _, h := range Heights(id) {
		b.WriteRune('▁' + rune(h))
	}
	return b.String()
}

// Path draws the glyph as the d of an SVG path in a box of 36 by 14.
func Path(id string) string {
	var b strings.Builder
	b.WriteString("M0 14")
	for i, h := range Heights(id) {
		top := strconv.Itoa(12 - int(h)*12/7)
		b.WriteString("V" + top + "H" + strconv.Itoa((i+1)*6))
	}
	b.WriteString("V14Z")
	return b.String()
}
