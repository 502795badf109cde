package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"mintmark/internal/backup"
	"mintmark/internal/config"
)

// A restore would make what is on trial the applied configuration for good.
func TestABackupHasTheSettingsThatATrialGoesBackTo(t *testing.T) {
	t.Parallel()
	dir := onTrial(t, time.Now(), time.Hour)
	c := &cli{err: new(strings.Builder), getenv: func(string) (string, bool) { return "", false }}
	k, err := c.openCore(t.Context(), dir, how{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = k.Close() }()
	var text bytes.Buffer
	if err := k.writeBackup(t.Context(), k.self(), &text); err != nil {
		t.Fatal(err)
	}
	content, err := backup.Read(&text)
	if err != nil {
		t.Fatal(err)
	}
	if got, is := content.Properties[config.LogLevel]; content.Properties[config.Listen] != listened || is {
		t.Errorf("it has %s and the level %q", content.Properties[config.Listen], got)
	}
}
