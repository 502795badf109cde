package config_test

import (
	"testing"
	"time"

	"mintmark/internal/config"
)

func TestDurationsAreReadAndWritten(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for text, c := range map[string]struct {
		want   time.Duration
		prints string
	}{
		"90d": {90 * day, "90d"}, "12h": {12 * time.Hour, "12h"}, "30m": {30 * time.Minute, "30m"}, "24h": {day, "1d"}, "2w": {14 * day, "14d"},
		"1w1d1h1m1s": {8*day + time.Hour + time.Minute + time.Second, "8d1h1m1s"}, "1d12h": {36 * time.Hour, "1d12h"}, "90m": {90 * time.Minute, "1h30m"},
		"1h30s": {time.Hour + 30*time.Second, "1h0m30s"}, "1.5h": {90 * time.Minute, "1h30m"}, "10m": {10 * time.Minute, "10m"}, "0s": {0, "0s"}, "0": {0, "0s"},
		"250ms": {250 * time.Millisecond, "250ms"}, "36500d": {36500 * day, "36500d"},
	} {
		got, err := config.ParseDuration(text)
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		same(t, text, config.FormatDuration(got), c.prints)
	}
	for _, text := range []string{
		"", "d", "w", "90", "-1d", "+1d", "1 d", "1D", "1d1w", "1d1d", "1h1d", "never", "36501d", "36500d1ns", "5215w", "99999999999999d", "2000000h",
		"36500d2000000h", "1.5d", "1_0d", "０d", "NaNh", "1e3h", "1y",
	} {
		if got, err := config.ParseDuration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, text := range []string{"90d", "1w2d3h4m5.6s", "1.5h", "0", "36500d", "9µs"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := config.ParseDuration(text)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("%q is %v", text, d)
		}
		written := config.FormatDuration(d)
		again, err := config.ParseDuration(written)
		if err != nil || again != d || config.FormatDuration(again) != written {
			t.Fatalf("%q is %v, written %q, read %v, %v", text, d, written, again, err)
		}
	})
}
