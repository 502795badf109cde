package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/internal/config"
	"mintmark/internal/control"
)

// What is worth a look before it becomes a failure.
const (
	certificateSoon = 21 * 24 * time.Hour
	littleSpace     = 256 << 20        // bytes
	noSpace         = 1 << 20          // less than that is as good as none
	largeLog        = 256 << 20        // bytes
	muchSkew        = 10 * time.Second // as the alert MintmarkClockSkew
)

// surroundings checks what is around a server: its certificate, the disk, the
// clock, its log.
func (k *core) surroundings() []control.Check {
	settings := k.running.Settings()
	var checks []control.Check
	if why := k.deaf.Load(); why != nil {
		checks = append(checks, addressCheck(*why))
	}
	if settings.Certificate != "" {
		checks = append(checks, certificateCheck(settings.Certificate, settings.Key, time.Now()), keyFileCheck(settings.Key))
	}
	checks = append(checks, k.clockCheck(time.Now()))
	if k.dir == "" {
		return checks
	}
	if err := k.strayed(); err != nil {
		f := classify(err)
		checks = append(checks, control.Check{Name: "place of the store", Fact: f.message, Fix: f.hint})
	}
	checks = append(checks, restoreChecks(k.dir)...)
	checks = append(checks, spaceCheck("free space", string(k.dir)))
	if kind, place := config.StorePlace(settings.Store); (kind == config.StoreJSON || kind == config.StoreSQLite) && filepath.Dir(place) != string(k.dir) {
		checks = append(checks, spaceCheck("free space of the store", filepath.Dir(place)))
	}
	if info, err := os.Stat(k.dir.Log()); err == nil {
		checks = append(checks, logCheck(info.Size()))
	}
	return checks
}

// addressCheck is there only when a server does not listen where it should.
func addressCheck(why string) control.Check {
	return control.Check{
		Name: "address", Fact: "the server does not listen where the settings say: " + why,
		Fix: "Free the address, or choose another: manager config properties set PROPERTY HOST:PORT, then manager config apply. It is tried again by itself.",
	}
}

func certificateCheck(certificate, key string, now time.Time) control.Check {
	check := control.Check{Name: "TLS certificate", OK: true}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		check.OK, check.Fact, check.Fix = false, err.Error(), "Put a certificate and its key in "+certificate+" and "+key+"; they are read again by themselves."
		return check
	}
	left := pair.Leaf.NotAfter.Sub(now)
	check.Fact = fmt.Sprintf("ends in %s, at %s", long(left), pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	renew := "Renew it in place: " + certificate + " is read again by itself."
	switch {
	case left <= 0:
		check.OK, check.Fact, check.Fix = false, "ended at "+pair.Leaf.NotAfter.UTC().Format(time.RFC3339), renew
	case left <= certificateSoon:
		check.Warning, check.Fix = true, renew
	}
	return check
}

// keyFileCheck looks who else can read the key.
func keyFileCheck(path string) control.Check {
	check := control.Check{Name: "TLS key file", OK: true}
	info, err := os.Stat(path)
	if err != nil {
		check.OK, check.Fact, check.Fix = false, err.Error(), "Put the key back, or set "+config.Key+"."
		return check
	}
	check.Fact = fmt.Sprintf("%s (%04o)", path, info.Mode().Perm())
	if info.Mode().Perm()&0o077 != 0 {
		check.Warning, check.Fix = true, "Others can read it: chmod 600 "+path
	}
	return check
}

// clockCheck says when time stands still because the clock was set back, and when
// a node's clock differs from that of the database.
func (k *core) clockCheck(wall time.Time) control.Check {
	check := control.Check{Name: "clock", OK: true, Fact: "not behind what is put down"}
	if k.fleet != nil {
		if skew := time.Duration(k.fleet.skew.Load()); skew.Abs() > muchSkew {
			check.Warning, check.Fact = true, "the clock differs from the database's by "+skew.Abs().Round(time.Second).String()
			check.Fix = "Set this machine's clock right, or the database's: a node is not ready while they differ by more than " + maxSkew.String() + "."
		}
	}
	if held := k.clock.Now().Sub(wall); held > time.Second {
		check.Warning, check.Fix = true, "Set the system's clock right; until it has caught up, time stands still here and nothing expires."
		check.Fact = "the clock is behind the newest event by " + held.Round(time.Second).String()
	}
	return check
}

func spaceCheck(name, folder string) control.Check {
	check := control.Check{Name: name, OK: true}
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		check.Warning, check.Fact, check.Fix = true, fmt.Sprintf("%s: %s", folder, err), "Look whether the file system is there."
		return check
	}
	free := s.Bavail * uint64(s.Bsize)
	check.Fact = fmt.Sprintf("%s in %s", size(free), folder)
	switch err := unix.Access(folder, unix.W_OK); {
	case err != nil:
		check.OK, check.Fact = false, fmt.Sprintf("%s cannot be written: %s", folder, err)
		check.Fix = "Make it writable again: until then no token is created or deleted."
	case free < littleSpace:
		check.OK, check.Warning, check.Fix = free >= noSpace, true, "Make space: without it no token is created or deleted."
	}
	return check
}

func logCheck(bytes int64) control.Check {
	check := control.Check{Name: "server log", OK: true, Fact: size(uint64(max(bytes, 0)))}
	if bytes > largeLog {
		check.Warning, check.Fix = true, "Begin a new one: manager restart; under systemd the journal keeps it instead."
	}
	return check
}

// size is a number of bytes for people.
func size(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", (n+1023)>>10)
}
