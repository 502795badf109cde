package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A restore that is killed at any moment has not happened, or is finished by the
// next command.
func TestARestoreThatIsKilledIsAllOrNothing(t *testing.T) {
	const (
		identity  = "AGE-SECRET-KEY-1AWPFSW6V7G4MLREX0D4J7XHS53P2Y7YX8K68NSQDV3PAGQTN2RSQJCTAD4\n" // for this test alone
		recipient = "age1ls6ha3x09j8gj8ldmpehac85sresah8zy2r67fs8ayq53xuax5gqswejme"
	)
	work := t.TempDir()
	at := func(name string) string { return filepath.Join(work, name) }
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("identity"), []byte(identity), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	manager := at("home/manager")
	result(t, program, "init", at("home"), "--listen", freeAddress(t))
	for _, client := range []string{"ended", "kept"} {
		result(t, manager, "token", "create", "--client-id", client, "--role", "user")
	}
	result(t, manager, "backup", "create", "--out", at("b.age"), "--recipient", recipient)
	result(t, manager, "token", "delete", "ended", "--yes")
	result(t, manager, "token", "create", "--client-id", "young", "--role", "user")
	if err := os.Rename(at("home"), at("before")); err != nil {
		t.Fatal(err)
	}
	restore := []string{"backup", "restore", at("b.age"), "--identity-file", at("identity"), "--confirm", host}
	again := func() {
		t.Helper()
		if err := errors.Join(os.RemoveAll(at("home")), exec.Command("cp", "-a", at("before"), at("home")).Run()); err != nil {
			t.Fatal(err)
		}
	}
	outcomes := map[string]int{}
	patience := 10 * time.Millisecond
	for i := 1; outcomes["done"] < 3; i++ { // each cycle is given more time than the one before
		again()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := exec.CommandContext(ctx, manager, restore...).Run()
		cancel()
		if patience += patience / 16; err == nil {
			outcomes["done"]++
		} else if patience > time.Minute {
			t.Fatalf("no restore gets through: %v", err)
		}
		_, begun := os.Stat(at("home/restore.pending"))
		var tokens struct {
			Items []struct {
				ClientID string `json:"client_id"`
			} `json:"items"`
		}
		if err := json.Unmarshal([]byte(result(t, manager, "token", "list", "--state", "active", "-o", "json")), &tokens); err != nil {
			t.Fatal(err)
		}
		var active []string
		for _, token := range tokens.Items {
			active = append(active, token.ClientID)
		}
		slices.Sort(active)
		_, kept := os.Stat(at("home/kept"))
		switch {
		case slices.Equal(active, []string{"kept", "young"}) && kept != nil:
			outcomes["nothing"]++
		case slices.Equal(active, []string{"kept"}) && kept == nil:
			outcomes["all"]++
			if begun == nil {
				outcomes["finished"]++
			}
		default:
			t.Fatalf("cycle %d: %v are active, kept: %v", i, active, kept == nil)
		}
		if _, err := os.Stat(at("home/restore.pending")); err == nil {
			t.Fatalf("cycle %d: the restore is not finished", i)
		}
		result(t, manager, "audit", "verify")
	}
	t.Logf("a restore takes about %s: %v", patience, outcomes)
	if outcomes["nothing"] == 0 || outcomes["all"] == 0 {
		t.Errorf("the kills missed the restore: %v", outcomes)
	}
}

// A state is not put where a server works, whatever this installation knows of
// it: neither into a file, nor into a database of nodes that live, nor over that of
// another installation.
func TestABackupIsNotRestoredIntoWhatOthersWorkOn(t *testing.T) {
	const (
		identity  = "AGE-SECRET-KEY-1AWPFSW6V7G4MLREX0D4J7XHS53P2Y7YX8K68NSQDV3PAGQTN2RSQJCTAD4\n" // for this test alone
		recipient = "age1ls6ha3x09j8gj8ldmpehac85sresah8zy2r67fs8ayq53xuax5gqswejme"
	)
	d := startDatabase(t)
	d.must(t, "-c", "CREATE DATABASE mint", "-c", "CREATE DATABASE empty")
	in := func(name string) string {
		return "postgres://postgres@/" + name + "?host=" + d.dir + "&port=" + d.port + "&sslmode=disable"
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	h := install(t)
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o700); err != nil { // nobody else may reach a store
		t.Fatal(err)
	}
	file := "sqlite:" + filepath.Join(folder, "other.db")
	one, other := install(t, "--store", in("mint")), install(t, "--store", file)
	put(t, filepath.Join(h.dir, "identity"), []byte(identity))
	h.token(t, "kept", "user")
	h.manager(t, "backup", "create", "--out", filepath.Join(h.dir, "b.age"), "--recipient", recipient)
	restore := func(store string) said {
		return h.run(t, "backup", "restore", filepath.Join(h.dir, "b.age"), "--identity-file", filepath.Join(h.dir, "identity"), "--store", store, "--confirm", host)
	}
	refused := func(store string, code int, words string) {
		t.Helper()
		if got := restore(store); got.code != code || !strings.Contains(got.err, words) {
			t.Errorf("into %s: %d %s%s", store, got.code, got.out, got.err)
		}
		if _, err := os.Lstat(filepath.Join(h.dir, "restore.pending")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a restore into %s was begun: %v", store, err)
		}
	}
	node, second := one.serve(t), other.serve(t)
	eventually(t, "the node is listed", func() bool { return strings.Contains(one.run(t, "status").out, "seen") })
	refused(in("mint"), 6, "other nodes work on the same database")
	refused(file, 6, "is in use by another server")
	node.signal(os.Interrupt)
	node.ends()
	second.signal(os.Interrupt)
	second.ends()
	refused(in("mint"), 6, "the state of another installation")
	refused("postgres://postgres@127.0.0.1:1/mint?sslmode=disable", 9, "cannot be used now")
	if got := restore(in("empty")); got.code != 0 {
		t.Errorf("into an empty one: %d %s", got.code, got.err)
	}
}

// result runs a command that has to succeed.
func result(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%v: %v: %s", args, err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
