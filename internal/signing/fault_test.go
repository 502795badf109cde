package signing_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/durable/durabletest"
	"mintmark/internal/signing"
)

// later is the operating system until a test lets its operations fail.
type later struct{ durable.Ops }

// house is a keyring of three keys on operations that can be let fail.
type house struct {
	ring *signing.Ring
	ops  *later
	path string
	kids []authority.KeyID
}

// eachFault runs step on a new keyring with the first, the second, … operation
// failing, done and not done, until no operation is left to fail.
func eachFault(t *testing.T, step func(t *testing.T, h house, faulty *durabletest.Faults)) {
	t.Helper()
	_, first, kids := create(t)
	text := read(t, first)
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EMFILE, io.ErrShortWrite} {
		for _, done := range []bool{false, true} {
			hits := 0
			for at := 1; at < 60; at++ {
				faulty := &durabletest.Faults{At: at, Err: fault, Done: done}
				t.Run(fmt.Sprintf("%v/at %d/done %v", fault, at, done), func(t *testing.T) {
					path := newPath(t)
					write(t, path, text)
					h := house{ops: &later{durable.System{}}, path: path, kids: kids}
					var err error
					h.ring, err = signing.Open(durable.Files{Ops: h.ops}, path, rand.Reader)
					must(t, err)
					h.ops.Ops = faulty
					step(t, h, faulty)
				})
				if faulty.Hit() != "" {
					hits++
				} else if !errors.Is(fault, io.ErrShortWrite) {
					break
				}
			}
			if hits == 0 {
				t.Errorf("%v: nothing failed", fault)
			}
		}
	}
}

// wantClassed holds a failure to its kind.
func wantClassed(t *testing.T, err error, faulty *durabletest.Faults) {
	t.Helper()
	want := authority.Unavailable
	if errors.Is(faulty.Err, syscall.ENOSPC) && !errors.Is(err, durable.ErrUnknown) {
		want = authority.Full
	}
	if got := authority.KindOf(err); got != want {
		t.Errorf("a failed %s is %v: %v", faulty.Hit(), got, err)
	}
}

// A key that could not be made durable is not in the ring: no record may name
// it. All others are in the ring and in the file, whatever failed.
func TestAKeyIsInTheRingOnlyWhenItIsDurable(t *testing.T) {
	eachFault(t, func(t *testing.T, h house, faulty *durabletest.Faults) {
		kid, err := h.ring.Generate("ES256")
		if err != nil {
			wantClassed(t, err, faulty)
		}
		if (err == nil) != h.ring.Has(kid) {
			t.Errorf("made: %v, in the ring: %v", err, h.ring.Has(kid))
		}
		stored := open(t, h.path)
		if err == nil && !stored.Has(kid) {
			t.Error("a key that was made is not in the file")
		}
		for _, old := range h.kids {
			if !h.ring.Has(old) || !stored.Has(old) {
				t.Errorf("%s is lost", old)
			}
		}
		// It recovers without a restart.
		h.ops.Ops = durable.System{}
		kid, err = h.ring.Generate("EdDSA")
		must(t, err)
		if stored := open(t, h.path); !stored.Has(kid) || !stored.Has(h.kids[0]) {
			t.Error("the next key does not last")
		}
	})
}

// Secrets are forgotten all or none: a failure leaves each of them in the ring,
// and a later call forgets them in the file, too.
func TestSecretsAreForgottenAllOrNone(t *testing.T) {
	eachFault(t, func(t *testing.T, h house, faulty *durabletest.Faults) {
		keep := h.kids[:1]
		err := h.ring.Keep(keep)
		if err != nil {
			wantClassed(t, err, faulty)
		}
		stored := open(t, h.path)
		for _, kid := range h.kids[1:] {
			if h.ring.Has(kid) != (err != nil) {
				t.Errorf("%v, and %s is in the ring: %v", err, kid, h.ring.Has(kid))
			}
			if err == nil && stored.Has(kid) {
				t.Errorf("%s is still in the file", kid)
			}
			if stored.Has(kid) != stored.Has(h.kids[1]) {
				t.Error("the file has some of them")
			}
		}
		if !stored.Has(keep[0]) || !h.ring.Has(keep[0]) {
			t.Error("a secret that is needed is lost")
		}
		h.ops.Ops = durable.System{}
		must(t, h.ring.Keep(keep))
		if got := secrets(read(t, h.path)); len(got) != 1 {
			t.Errorf("%d secrets are kept", len(got))
		}
	})
}

func TestAKeyringIsCreatedWholeOrNotAtAll(t *testing.T) {
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
		for at, hit := 1, true; hit; at++ {
			path := newPath(t)
			faulty := &durabletest.Faults{At: at, Err: fault}
			_, err := signing.Create(durable.Files{Ops: faulty}, path, rand.Reader)
			hit = faulty.Hit() != ""
			if err == nil && hit {
				t.Errorf("%v at %d, %s: created nevertheless", fault, at, faulty.Hit())
			}
			if err != nil && !errors.Is(err, durable.ErrUnknown) {
				if _, err := signing.Open(durable.Files{}, path, rand.Reader); !errors.Is(err, signing.ErrLost) {
					t.Errorf("%v at %d, %s: something is there: %v", fault, at, faulty.Hit(), err)
				}
				continue
			}
			open(t, path)
		}
	}
}
