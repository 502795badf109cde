package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mintmark/internal/control"
	"mintmark/internal/home"
)

// restoreChecks says what a restore did, until what it kept is removed: who
// comes by later learns that something ended, or is valid again.
func restoreChecks(dir home.Dir) []control.Check {
	folders, err := os.ReadDir(dir.Kept(""))
	if err != nil {
		return nil
	}
	for _, f := range slices.Backward(folders) { // the latest has the last name
		text, err := os.ReadFile(filepath.Join(dir.Kept(f.Name()), noticeFile))
		if err != nil {
			continue
		}
		return []control.Check{{
			Name: "restore", OK: true, Warning: true, Fact: strings.TrimSpace(string(text)),
			Fix: "Look through token list. Then remove what was kept, the secrets from before are in it: rm -r " + dir.Kept(f.Name()),
		}}
	}
	return nil
}
