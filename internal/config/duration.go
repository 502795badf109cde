package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
	// longest keeps every sum with a date of this millennium in range.
	longest = 100 * 365 * day
)

// ParseDuration reads what FormatDuration writes and what Go writes, with d for
// 24 hours and w for 7 days: "90d", "12h", "1d12h". It is never negative.
func ParseDuration(s string) (time.Duration, error) {
	wrong := fmt.Errorf("%s is not a duration such as 90d, 12h or 30m", strconv.Quote(s))
	if s == "" || strings.ContainsAny(s, "+- ") {
		return 0, wrong
	}
	var total time.Duration
	rest := s
	for _, unit := range []struct {
		suffix string
		length time.Duration
	}{{"w", week}, {"d", day}} {
		head, tail, ok := strings.Cut(rest, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(head, 10, 32)
		if err != nil || n > uint64(longest/unit.length) {
			return 0, wrong
		}
		total += time.Duration(n) * unit.length
		rest = tail
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return 0, wrong
		}
		total += d
	}
	if total < 0 || total > longest {
		return 0, wrong
	}
	return total, nil
}

// FormatDuration writes the shortest form: "90d", "12h", "1h30m".
func FormatDuration(d time.Duration) string {
	days := d / day
	rest := d % day
	text := ""
	if days > 0 {
		text = strconv.FormatInt(int64(days), 10) + "d"
	}
	if rest == 0 && text != "" {
		return text
	}
	tail := rest.String() // "1h30m0s"
	if strings.HasSuffix(tail, "m0s") {
		tail = strings.TrimSuffix(tail, "0s")
	}
	if strings.HasSuffix(tail, "h0m") {
		tail = strings.TrimSuffix(tail, "0m")
	}
	return text + tail
}

// editDistance counts the insertions, deletions and replacements from a to b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
