package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checked is what doctor says of one check: its state, the fact and the remedy.
func (h home) checked(t *testing.T, name string) string {
	t.Helper()
	for line := range strings.Lines(h.run(t, "doctor", "-o", "tsv").out) {
		if rest, ok := strings.CutPrefix(line, name+"\t"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// says holds a check against the beginning of its fact and the end of its remedy.
func (h home) says(t *testing.T, name, begin, end string) {
	t.Helper()
	if got := h.checked(t, name); !strings.HasPrefix(got, begin) || !strings.HasSuffix(got, end) {
		t.Errorf("doctor says of %s: %q, want %q … %q", name, got, begin, end)
	}
}

func TestDoctorLooksAtTheCertificateAndWhoCanReadItsKey(t *testing.T) {
	home := install(t)
	certificate, key := pair(t, t.TempDir(), "here")
	if got := home.checked(t, "TLS key file"); got != "" {
		t.Errorf("without TLS the key is %q", got)
	}
	home.manager(t, "config", "properties", "set", "server.tls.certificate", certificate)
	home.manager(t, "config", "properties", "set", "server.tls.key", key)
	home.manager(t, "config", "apply")
	home.says(t, "TLS certificate", "attention\tends in ", "Renew it in place: "+certificate+" is read again by itself.")
	home.says(t, "TLS key file", "ok\t"+key+" (0600)", "–")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	home.says(t, "TLS key file", "attention\t"+key+" (0644)", "Others can read it: chmod 600 "+key)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	home.says(t, "TLS key file", "problem\t", "Put the key back, or set server.tls.key.")
	home.says(t, "TLS certificate", "problem\t", "they are read again by themselves.")
	// It went to plain HTTP's address while it had none.
	home.says(t, "issuer", "attention\t"+home.url+" is not where this server is reached: it has TLS", "keep the issuer they carry")
}

func TestDoctorLooksAtTheLog(t *testing.T) {
	home := install(t)
	path := filepath.Join(home.dir, "logs", "server.log")
	write(t, path, "a line\n")
	home.says(t, "server log", "ok\t1 KiB", "–")
	if err := os.Truncate(path, 256<<20+1); err != nil {
		t.Fatal(err)
	}
	home.says(t, "server log", "attention\t256 MiB", " restart; under systemd the journal keeps it instead.")
}
