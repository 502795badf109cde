package control_test

import (
	"os"
	"strings"
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/config"
)

func TestApplyingAStoreCarriesTheLiveTokensIntoIt(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	first := d.issue(t, "ci")
	path := d.file(t, "token.json", "{}")
	d.stage(t, config.StoreAlias, path)
	diff, _, err := d.Diff(t.Context(), maria())
	if err != nil || len(diff) != 1 || diff[0].Note != "checked" || diff[0].Property != config.Store {
		t.Fatalf("got %+v, %v", diff, err)
	}
	if d.authority.Facts().Persistent {
		t.Fatal("staging switches the store")
	}
	a := d.apply(t)
	if a.Carried == nil || a.Carried.Existing != 0 || a.Carried.Carried != 1 || a.Carried.Store.Location != path || a.RestartNeeded != nil {
		t.Fatalf("applied %+v, %+v", a, a.Carried)
	}
	second := d.issue(t, "cd")
	for range 2 {
		d.restart(t)
		for _, id := range []authority.TokenID{first, second} {
			if _, err := d.authority.RevealToken(t.Context(), operator(), id); err != nil {
				t.Errorf("%s after a restart: %v", id, err)
			}
		}
	}
	// To another file that holds tokens already, and to memory.
	other := newDesk(t, map[string]string{config.Store: "tokens.json"})
	other.issue(t, "old")
	must(t, other.store.Close())
	moved, err := os.ReadFile(other.path("tokens.json"))
	must(t, err)
	d.stage(t, config.Store, d.file(t, "other.json", string(moved)))
	if c := d.apply(t).Carried; c == nil || c.Existing != 1 || c.Carried != 2 {
		t.Errorf("carried %+v", c)
	}
	same(t, "active", d.active(t), 3)
	d.stage(t, config.Store, "memory")
	diff, _, err = d.Diff(t.Context(), maria())
	if err != nil || !strings.Contains(diff[0].Note, "lost") {
		t.Errorf("got %+v, %v", diff, err)
	}
	if c := d.apply(t).Carried; c == nil || c.Store.Persistent {
		t.Errorf("carried %+v", c)
	}
	same(t, "active", d.active(t), 3)
	d.restart(t)
	same(t, "active after a restart of memory", d.active(t), 0)
}

// Every reason that a path is refused for reaches the operator, and nothing has
// changed: what ran runs, what was staged is staged.
func TestAStoreThatIsRefusedChangesNothingAndSaysWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(t *testing.T, d *desk) string
		says    string
	}{
		"missing": {func(_ *testing.T, d *desk) string { return d.path("none.json") }, "none.json"},
		"open to others": {func(t *testing.T, d *desk) string {
			p := d.file(t, "a.json", "")
			must(t, os.Chmod(p, 0o644))
			return p
		}, "chmod 600"},
		"foreign": {func(t *testing.T, d *desk) string { return d.file(t, "a.json", `{"name":"package"}`) }, "a.json"},
		"damaged": {func(t *testing.T, d *desk) string { return d.file(t, "a.json", `{"format":`) }, "backup"},
		"empty, and held a store before": {func(t *testing.T, d *desk) string {
			p := d.file(t, "a.json", "")
			d.stage(t, config.Store, p)
			d.apply(t)
			d.stage(t, config.Store, d.path("tokens.json"))
			d.prune(t)
			d.apply(t)
			return d.file(t, "a.json", "")
		}, "held a store before"},
		"in use": {func(t *testing.T, d *desk) string {
			p := d.file(t, "a.json", "")
			held, err := d.pen.Lock(p + ".lock")
			must(t, err)
			t.Cleanup(func() { _ = held.Close() })
			return p
		}, "in use"},
		"one id in both": {func(t *testing.T, d *desk) string {
			here, err := d.authority.FindToken(t.Context(), operator(), "ci", false)
			must(t, err)
			other := newDesk(t, map[string]string{config.Store: "tokens.json"})
			must(t, other.store.Update(t.Context(), func(tx authority.Tx) error {
				return tx.Tokens().Insert(authority.Token{ID: here.ID, ClientID: "somebody else"})
			}))
			must(t, other.store.Close())
			return d.copy(t, other.path("tokens.json"), "a.json")
		}, "too"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, map[string]string{config.Store: "tokens.json"})
			d.issue(t, "ci")
			path := c.prepare(t, d)
			active, applied := d.active(t), d.property(t, config.Store).Applied
			d.stage(t, config.Store, path)
			var before []byte
			if exists(path) {
				before, _ = os.ReadFile(path)
			}
			_, err := d.Apply(t.Context(), maria(), 0, 0)
			if kind := authority.KindOf(err); err == nil || kind != authority.Invalid && kind != authority.Conflict {
				t.Fatalf("got %v (%v)", err, kind)
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), ".json") {
				t.Errorf("it says %q, not %q", err, c.says)
			}
			same(t, "active", d.active(t), active)
			p := d.property(t, config.Store)
			same(t, "property", []string{p.Running, p.Applied, text(p.Staged)}, []string{applied, applied, path})
			if exists(path) {
				after, err := os.ReadFile(path)
				must(t, err)
				same(t, "the file", string(after), string(before))
			}
			d.restart(t)
			same(t, "active after a restart", d.active(t), active)
		})
	}
}

// copy puts a copy of a file into the home.
func (d *desk) copy(t *testing.T, from, name string) string {
	t.Helper()
	content, err := os.ReadFile(from)
	must(t, err)
	return d.file(t, name, string(content))
}

// A token that was deleted for good stays so, whichever file its record comes
// back in and however the server got there.
func TestNoFileBringsADeletedTokenBack(t *testing.T) {
	t.Parallel()
	for name, detour := range map[string]func(t *testing.T, d *desk, end func()){
		"left for memory, and come back to after a restart": func(t *testing.T, d *desk, end func()) {
			d.stage(t, config.Store, "memory")
			d.apply(t)
			end()
			d.restart(t)
			d.stage(t, config.Store, d.path("tokens.json"))
			d.apply(t)
		},
		"left for another file and memory": func(t *testing.T, d *desk, end func()) {
			d.stage(t, config.Store, d.file(t, "b.json", ""))
			d.apply(t)
			end()
			d.stage(t, config.Store, "memory")
			d.apply(t)
			d.stage(t, config.Store, d.path("tokens.json"))
			d.apply(t)
		},
		"a backup that is put back": func(t *testing.T, d *desk, end func()) {
			d.copy(t, d.path("tokens.json"), "backup.json")
			end()
			must(t, d.store.Close())
			d.copy(t, d.path("backup.json"), "tokens.json")
			d.restart(t)
		},
		"a backup at another place": func(t *testing.T, d *desk, end func()) {
			backup := d.copy(t, d.path("tokens.json"), "backup.json")
			end()
			d.stage(t, config.Store, backup)
			d.apply(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, map[string]string{config.Store: "tokens.json"})
			dead, alive := d.issue(t, "dead"), d.issue(t, "alive")
			detour(t, d, func() {
				_, err := d.authority.RevokeToken(t.Context(), operator(), dead, true)
				must(t, err)
			})
			for range 2 {
				_, err := d.authority.RevealToken(t.Context(), operator(), dead)
				wantCode(t, err, authority.Conflict, "token.deleted")
				_, err = d.authority.RevealToken(t.Context(), operator(), alive)
				must(t, err)
				d.restart(t)
			}
		})
	}
}

// prune makes tokens.json one that this home's tokens can come back to.
func (d *desk) prune(t *testing.T) {
	t.Helper()
	must(t, os.Remove(d.path("tokens.json")))
	empty := newDesk(t, map[string]string{config.Store: "tokens.json"})
	must(t, empty.store.Close())
	text, err := os.ReadFile(empty.path("tokens.json"))
	must(t, err)
	d.file(t, "tokens.json", string(text))
}

// The tokens last in the new file, and then the configuration cannot be written:
// all is old.
func TestASwitchThatFailsHalfWayLeavesAllOld(t *testing.T) {
	t.Parallel()
	for name, lasted := range map[string]bool{"not written": false, "written, and nobody knows": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, map[string]string{config.Store: "tokens.json"})
			d.issue(t, "ci")
			path := d.file(t, "a.json", "")
			d.stage(t, config.Store, path)
			d.stage(t, config.Copy, "never")
			cause := errDisk
			if lasted {
				cause = unknownErr()
			}
			d.pen.failing(1, cause, lasted)
			_, err := d.Apply(t.Context(), maria(), 0, 0)
			wantCode(t, err, authority.Unavailable, "config.unwritable")
			same(t, "location", d.authority.Facts().Location, d.path("tokens.json"))
			same(t, "copy", d.running.Settings().Copy, "allow")
			d.issue(t, "cd")
			d.restart(t)
			same(t, "location", d.authority.Facts().Location, d.path("tokens.json"))
			same(t, "active", d.active(t), 2)
			same(t, "staged", text(d.property(t, config.Store).Staged), path)
			if c := d.apply(t).Carried; c == nil || c.Existing != 0 || c.Carried != 2 {
				t.Errorf("once more: %+v", c)
			}
		})
	}
}
