package mapstore_test

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/storetest"
)

func TestRealDiskFullAndReadOnly(t *testing.T) { storetest.SmallDisk(t, "256k", onASmallDisk) }

func onASmallDisk(t *testing.T, dir string) {
	template(t, dir)
	cfg := mapstore.Config{Home: dir, Tokens: filepath.Join(dir, "tokens.json"), Now: time.Now}
	s := open(t, cfg)
	n := 100
	for ; n < 1000; n++ {
		if err := create(s, n); err != nil {
			if authority.KindOf(err) != authority.Full {
				t.Fatalf("on a full disk: %v, %v", err, errors.Unwrap(err))
			}
			break
		}
	}
	if n == 1000 || s.Facts().Problem == "" {
		t.Fatalf("the disk is not small, or the facts tell no problem: %+v", s.Facts())
	}
	wantCount(t, s, 1+n-100) // memory is not ahead of the disk
	// Deleting needs less room than there was, and brings room back.
	err := s.Update(context.Background(), func(tx authority.Tx) error {
		for i := range n - 110 {
			if err := tx.Tokens().Delete(storetest.Token(100 + i).ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("deleting on a full disk: %v, %v", err, errors.Unwrap(err))
	}
	if err := create(s, 5000); err != nil {
		t.Fatalf("after there is room: %v, %v", err, errors.Unwrap(err))
	}
	if p := s.Facts().Problem; p != "" {
		t.Errorf("the problem stays: %s", p)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	const readOnly = 0x20 | 0x1 // MS_REMOUNT, MS_RDONLY
	if err := syscall.Mount("", dir, "", readOnly, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := mapstore.Open(cfg); !errors.Is(err, durable.ErrReadOnly) {
		t.Errorf("opened on a read-only disk: %v", err)
	}
	if err := syscall.Mount("", dir, "", 0x20, ""); err != nil {
		t.Fatal(err)
	}
	wantCount(t, open(t, cfg), 12)
}
