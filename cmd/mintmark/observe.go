package main

import (
	"encoding/hex"
	"math/rand/v2"
)

// requestID is drawn for every request, so from the runtime's ChaCha8, which the
// system seeds: nobody can tell it in advance, and no call into the system is
// made for it.
func requestID() string {
	var raw [8]byte
	var text [16]byte
	n := rand.Uint64()
	for i := range raw {
		raw[i] = byte(n >> (8 * i))
	}
	hex.Encode(text[:], raw[:])
	return string(text[:])
}
