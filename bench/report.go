package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// report is what a run found, as a page of Markdown.
type report struct {
	plan    plan
	text    strings.Builder
	section string
}

func (r *report) begin() {
	fmt.Fprintf(&r.text, "Measured %s with `go run ./bench %s` on %s, %s.\n", time.Now().UTC().Format(time.DateOnly), strings.Join(os.Args[1:], " "), machine(), runtime.Version())
	fmt.Fprintf(&r.text, "%d live tokens, %d different ones presented, ES256, %d connections, %d turns of %s each.\n",
		r.plan.live, r.plan.presented, r.plan.connections, r.plan.turns, r.plan.turn)
	if _, err := exec.LookPath("taskset"); err != nil {
		r.text.WriteString("Servers and load shared their cores: there is no taskset here.\n")
	}
	fmt.Print(r.text.String())
}

// add renders the rows that a part has written.
func (r *report) add(rows []byte) {
	from := r.text.Len()
	for line := range bytes.Lines(rows) {
		var x row
		if err := json.Unmarshal(line, &x); err != nil {
			continue // a part said something else
		}
		if x.Section != r.section {
			r.section = x.Section
			fmt.Fprintf(&r.text, "\n### %s%s\n\n| what | beside | measure | middle | least–greatest | target | | absolute, as context |\n|---|---|---|---|---|---|---|---|\n", strings.ToUpper(x.Section[:1]), x.Section[1:])
		}
		target, kept := x.target()
		fmt.Fprintf(&r.text, "| %s | %s | %s | %s | %s–%s | %s | %s | %s |\n",
			x.What, x.Beside, x.Measure, x.number(x.Spread.Middle), x.number(x.Spread.Low), x.number(x.Spread.High), target, kept, x.Context)
	}
	fmt.Print(r.text.String()[from:])
}

func (x row) number(v float64) string {
	if v == 0 {
		return "–"
	}
	if x.Unit == "" {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.1f %s", v, x.Unit)
}

// target is what was aimed at, and whether the middle is there.
func (x row) target() (text, kept string) {
	switch {
	case x.Spread.Middle == 0:
		return "", ""
	case x.Least > 0 && x.Spread.Middle >= x.Least:
		return "≥ " + x.number(x.Least), "yes"
	case x.Least > 0:
		return "≥ " + x.number(x.Least), "**no**"
	case x.Most > 0 && x.Spread.Middle <= x.Most:
		return "≤ " + x.number(x.Most), "yes"
	case x.Most > 0:
		return "≤ " + x.number(x.Most), "**no**"
	}
	return "", ""
}

func (r *report) end() error {
	if r.plan.report == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(r.plan.report), 0o755); err != nil {
		return err
	}
	return os.WriteFile(r.plan.report, []byte(r.text.String()), 0o644)
}

// machine is the processor as the system names it.
func machine() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return fmt.Sprintf("%d × %s, %s/%s", runtime.NumCPU(), strings.TrimSpace(value), runtime.GOOS, runtime.GOARCH)
			}
		}
	}
	return fmt.Sprintf("%d cores, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
}
