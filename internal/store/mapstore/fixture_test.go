package mapstore

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/stored"
)

// fixtures are what the files in the folders of testdata hold. A member that is
// added to a stored form gets a folder of its own; those that are there stay.
func fixtures() map[string]func() (state, []authority.Event) {
	return map[string]func() (state, []authority.Event){"v1": fixture, "v1-rotation": rotationFixture}
}

func at(h int) time.Time { return time.Date(2026, 1, 2, h, 4, 5, 0, time.UTC) }

// rotationFixture is the same with a key on trial and a token that is replaced.
func rotationFixture() (state, []authority.Event) {
	st, events := fixture()
	e := new(edit)
	c := codecsOf(&file{}, &file{})
	add(&st.tokens, e, c.token, authority.Token{
		ID: "tok_00000000000000000000000003", ClientID: "nightly", Role: authority.RoleUser, Issuer: "i", CreatedAt: at(1), KeyID: "kid-1", Generation: 2,
		ReplacedBy: "tok_00000000000000000000000004", EndsAt: at(5), Contacted: authority.Contact{At: at(2), By: "admin", Note: "by mail"},
	})
	add(&st.tokens, e, c.token, authority.Token{
		ID: "tok_00000000000000000000000004", ClientID: "nightly", Role: authority.RoleUser, Issuer: "i", CreatedAt: at(2), KeyID: "kid-2", Generation: 2,
		Replaces: "tok_00000000000000000000000003",
	})
	add(&st.keys, e, c.key, authority.Key{
		ID: "kid-2", Name: "key_2026b", Algorithm: "ES256", State: authority.KeyPrevious, CreatedAt: at(1), CurrentSince: at(2), Until: at(9),
		Hold: true, TrialUntil: at(3), Reason: "somebody left",
	})
	return st, events
}

// fixture is one record of each kind with every member set, and one with none
// that may be missing.
func fixture() (state, []authority.Event) {
	var st state
	e := new(edit)
	c := codecsOf(&file{}, &file{})
	add(&st.tokens, e, c.token, authority.Token{
		ID: "tok_00000000000000000000000001", ClientID: "batch", Role: authority.RoleUser, Tags: []string{"team:blue"}, Issuer: "https://mint.example",
		Audience: []string{"https://api.example"}, Description: "<nightly> \"job\"", Contact: "ops@example.org",
		AllowedAddresses: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}, CreatedAt: at(1), CreatedBy: "admin", ExpiresAt: at(2), KeyID: "kid-1",
		Generation: 2, DeletedAt: at(3), DeletedBy: "admin", Leaked: true,
	})
	add(&st.tokens, e, c.token, authority.Token{ID: "tok_00000000000000000000000002", ClientID: "bare", Role: authority.RoleAdmin, Issuer: "i", CreatedAt: at(1), KeyID: "kid-1"})
	add(&st.receipts, e, c.receipt, authority.Receipt{Key: "digest", TokenID: "tok_00000000000000000000000002", Request: []byte{1, 2}, At: at(1)})
	add(&st.keys, e, c.key, authority.Key{
		ID: "kid-1", Name: "key_2026a", Algorithm: "ES256", State: authority.KeyPrevious, CreatedAt: at(1), CurrentSince: at(2), Until: at(3), RetiredAt: at(4),
	})
	add(&st.admins, e, c.admin, authority.Admin{Name: "admin", PasswordHash: "$argon2id$", CreatedAt: at(1), CreatedBy: "setup", PasswordChangedAt: at(2)})
	add(&st.logins, e, c.login, authority.Login{
		ID: "lgn_1", Admin: "admin", CreatedAt: at(1), AuthenticatedAt: at(1), ExpiresAt: at(9), From: "192.0.2.1", KeyID: "kid-1", Generation: 2,
	})
	add(&st.throttles, e, c.throttle, authority.Throttle{Name: "admin", Failures: 1, Total: 6, LastAt: at(1), PausedUntil: at(2), Known: true})
	add(&st.system, e, c.system, authority.System{Generation: 2, ResetAt: at(1), SetupDigest: []byte{3}, SetupExpires: at(2), CursorKey: []byte{4}})
	first := authority.Event{
		At: at(1), Actor: authority.Actor{Kind: "admin", Name: "admin"}, Action: "token.created", Target: "tok_00000000000000000000000001", Label: "batch",
		From: "192.0.2.1", Outcome: "ok", RequestID: "r", Detail: map[string]string{"a": "b"},
	}
	return st, []authority.Event{first, {At: at(2), Action: "key.rotated"}, {At: at(3), Action: "token.deleted"}}
}

func add[K ~string, T record[K, T]](to *sorted[K, T], e *edit, c *stored.Codec[T], v T) {
	w, err := rowOf[K](v, c)
	if err != nil {
		panic(err)
	}
	to.put(w, e)
}

// TestTheStoredFormsOfVersion1StayAsTheyAre writes the fixtures anew and finds
// the same bytes. With MINTMARK_UPDATE=1 it writes those that are missing.
func TestTheStoredFormsOfVersion1StayAsTheyAre(t *testing.T) {
	for folder, fixture := range fixtures() {
		t.Run(folder, func(t *testing.T) { writtenAnew(t, folder, fixture) })
	}
}

func writtenAnew(t *testing.T, folder string, fixture func() (state, []authority.Event)) {
	st, events := fixture()
	l := ledger{log: new(durable.Log)}
	entries, err := l.chain(events)
	if err != nil {
		t.Fatal(err)
	}
	end := place{3, entries[2].event.Hash}
	var w writer
	for name, make := range map[string]func() ([]byte, error){
		"tokens.json": func() ([]byte, error) {
			return w.compose(&file{format: tokensFormat, revision: 11}, &st, end, entries[2:])
		},
		StateFile: func() ([]byte, error) {
			return w.compose(&file{format: stateFormat, revision: 3, opened: []string{"/var/lib/mintmark/tokens.json"}}, &st, end, entries[1:2])
		},
		AuditFile: func() ([]byte, error) { return append(entries[0].line.bytes, '\n'), nil },
	} {
		text, err := make()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", folder, name)
		want, err := os.ReadFile(path)
		if os.IsNotExist(err) && os.Getenv("MINTMARK_UPDATE") == "1" {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil || !bytes.Equal(text, want) {
			t.Errorf("%s: %v\n%s", path, err, cmp.Diff(string(want), string(text)))
		}
	}
}

func TestFilesOfVersion1Open(t *testing.T) {
	for folder, fixture := range fixtures() {
		t.Run(folder, func(t *testing.T) { opens(t, folder, fixture) })
	}
}

func opens(t *testing.T, folder string, fixture func() (state, []authority.Event)) {
	home := t.TempDir()
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tokens.json", StateFile, AuditFile} {
		text, err := os.ReadFile(filepath.Join("testdata", folder, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(home, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(Config{Home: home, Tokens: filepath.Join(home, "tokens.json"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want, events := fixture()
	got := s.durable.Load().state
	if d := cmp.Diff(snapshot(want), snapshot(got), cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
	if got.receipts.size != 1 || got.admins.size != 1 || got.throttles.size != 1 {
		t.Error("receipts, administrators or throttles are missing")
	}
	if sound, broken, err := s.VerifyAudit(context.Background()); err != nil || broken != 0 || int(sound) != len(events) {
		t.Errorf("the pending events of both files: %d sound, breaks at %d, %v", sound, broken, err)
	}
}
