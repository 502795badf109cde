package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// settings are the lines of a unit that set something, but those that have one of
// the prefixes.
func settings(unit string, but ...string) string {
	var kept []string
lines:
	for _, line := range strings.Split(unit, "\n") {
		for _, prefix := range append(but, "#") {
			if strings.HasPrefix(line, prefix) {
				continue lines
			}
		}
		if line != "" {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// A node of a fleet is as closed as a server alone.
func TestTheUnitOfANodeIsAsHardAsTheOneOfAServer(t *testing.T) {
	server := read(t, filepath.Join("..", "deploy", "systemd", "mintmark.service"))
	node := read(t, filepath.Join("..", "deploy", "fleet", "systemd", "mintmark@.service"))
	but := []string{"Description=", "ExecStart=", "ReadWritePaths=", "TimeoutStartSec=", "StartLimitIntervalSec="}
	if a, b := settings(server, but...), settings(node, but...); a != b {
		t.Errorf("they differ:\n%s\n\nand\n\n%s", a, b)
	}
	for _, line := range []string{
		"ExecStart=/opt/mintmark/%i/manager serve --home /opt/mintmark/%i", "ReadWritePaths=/opt/mintmark/%i", "StartLimitIntervalSec=0",
	} {
		if !strings.Contains(node, "\n"+line+"\n") {
			t.Errorf("the unit of a node has no line %q", line)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("NOT VERIFIED: systemd-analyze is not installed")
	}
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	// The same unit with the program and the user of this test in it.
	local := strings.NewReplacer("/opt/mintmark/%i/manager", program, "User=mintmark", "User=root", "Group=mintmark", "Group=root").Replace(node)
	path := write(t, filepath.Join(t.TempDir(), "mintmark@node1.service"), local)
	if out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput(); err != nil || strings.Contains(string(out), "mintmark@") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
