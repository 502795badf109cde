package backup_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mintmark/internal/authority"
	"mintmark/internal/backup"
)

func at(h int) time.Time { return time.Date(2026, 11, 23, h, 8, 2, 0, time.UTC) }

// content has every member of every record that a backup keeps.
func content() *backup.Content {
	return &backup.Content{
		Facts: backup.Facts{
			Product: "v1.2.3", Host: "tokens-01", Issuer: "https://tokens.example", CreatedAt: at(1), Store: "json", Generation: 3,
			LastEvent: authority.Place{Seq: 2, Hash: "beef"},
		},
		Keyring: []byte("{}\n"), Properties: map[string]string{"tokens.copy": "never"},
		Records: authority.Records{
			Tokens: []authority.Token{
				{
					ID: "tok_a", ClientID: "ci", Role: "user", Tags: []string{"team:data"}, Issuer: "https://tokens.example", Audience: []string{"a", "b"},
					Description: "d", Contact: "c", AllowedAddresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, CreatedAt: at(2), CreatedBy: "maria",
					ExpiresAt: at(3), KeyID: "kid", Generation: 3, DeletedAt: at(4), DeletedBy: "jo", Leaked: true, Replaces: "tok_0", ReplacedBy: "tok_b", EndsAt: at(5),
					Contacted: authority.Contact{At: at(6), By: "jo", Note: "mail"},
				},
				{ID: "tok_b", ClientID: "<ci> & \u2028", Role: "admin", Issuer: "i"},
			},
			Receipts: []authority.Receipt{{Key: "r", TokenID: "tok_a", Request: []byte{1, 2}, At: at(7)}},
			Keys: []authority.Key{{
				ID: "kid", Name: "key_2026a", Algorithm: "ES256", State: "previous", CreatedAt: at(1), CurrentSince: at(2), Until: at(3), RetiredAt: at(4),
				Hold: true, TrialUntil: at(5), Reason: "due",
			}},
			Admins:    []authority.Admin{{Name: "maria", PasswordHash: "$argon2id$", CreatedAt: at(1), CreatedBy: "setup", PasswordChangedAt: at(2)}},
			Throttles: []authority.Throttle{{Name: "maria", Failures: 1, Total: 2, LastAt: at(3), PausedUntil: at(4), Known: true}},
			System:    authority.System{Generation: 3, ResetAt: at(1), CursorKey: []byte{4}},
		},
		Events: []authority.Event{
			{Seq: 1, At: at(1), Actor: authority.Actor{Kind: "local", Name: "root"}, Action: "store.founded", Target: "t", Label: "l", From: "local", Outcome: "ok", RequestID: "r", Detail: map[string]string{"a": "b"}, Hash: "dead"},
			{Seq: 2, At: at(2), Action: "backup.created", Outcome: "ok", Hash: "beef"},
		},
		Restored: &authority.Event{At: at(3), Action: "backup.restored", Outcome: "ok", Detail: map[string]string{"restore": "1"}},
	}
}

func clear(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	_, err := backup.Write(&b, content().Source())
	must(t, err)
	return b.Bytes()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	facts, err := backup.Write(&b, content().Source())
	must(t, err)
	if want := (backup.Counts{Tokens: 2, Receipts: 1, Keys: 1, Admins: 1, Throttles: 1, Events: 2}); facts.Counts != want || len(facts.Digest) != 64 {
		t.Errorf("facts %+v", facts)
	}
	got, err := backup.Read(bytes.NewReader(b.Bytes()))
	must(t, err)
	want := content()
	want.Facts = facts
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	checked, err := backup.Check(bytes.NewReader(b.Bytes()))
	must(t, err)
	if diff := cmp.Diff(facts, checked); diff != "" {
		t.Errorf("checked (-want +got):\n%s", diff)
	}
}

// What somebody was shown once, and what is sealed for one store, is no part.
func TestACodeAndSealedSecretsStayBehind(t *testing.T) {
	t.Parallel()
	c := content()
	c.Records.System.SetupDigest, c.Records.System.SetupExpires = []byte("code"), at(9)
	c.Records.Keys[0].Sealed = []byte("sealed")
	var b bytes.Buffer
	_, err := backup.Write(&b, c.Source())
	must(t, err)
	got, err := backup.Read(&b)
	must(t, err)
	if s := got.Records.System; s.SetupDigest != nil || !s.SetupExpires.IsZero() || got.Records.Keys[0].Sealed != nil {
		t.Errorf("system %+v, key %+v", s, got.Records.Keys[0])
	}
}

func TestEveryCutAndEveryChangedByteOfTheClearFormIsFound(t *testing.T) {
	t.Parallel()
	text := clear(t)
	for n := range text {
		if _, err := backup.Read(bytes.NewReader(text[:n])); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
		changed := bytes.Clone(text)
		changed[n] ^= 1
		if _, err := backup.Read(bytes.NewReader(changed)); err == nil {
			t.Fatalf("byte %d changed, and it was read", n)
		}
	}
	if _, err := backup.Read(bytes.NewReader(append(bytes.Clone(text), '\n'))); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("more behind the end: %v", err)
	}
}

func TestWhatIsNoBackupAndWhatIsNewerIsSaid(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"{}\n": backup.ErrForeign, "PK\x03\x04\n": backup.ErrForeign,
		`{"format":"mintmark-backup/2","more":1}` + "\n": backup.ErrNewer, `{"format":"mintmark-backup/99"}` + "\n": backup.ErrNewer,
		`{"format":"mintmark-backup/0"}` + "\n": backup.ErrDamaged, `{"format":"mintmark-backup/1","x":1}` + "\n": backup.ErrDamaged,
	} {
		if _, err := backup.Read(strings.NewReader(text)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

// identity is one that opens quickly: a passphrase costs a second.
func identity(t *testing.T) (*age.X25519Identity, backup.Recipient) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	must(t, err)
	r, err := backup.ForRecipient(id.Recipient().String())
	must(t, err)
	return id, r
}

func seal(t *testing.T, r backup.Recipient, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := backup.Seal(&b, r)
	must(t, err)
	_, err = w.Write(text)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func TestEveryCutAndEveryChangedByteOfASealedBackupIsFound(t *testing.T) {
	t.Parallel()
	id, r := identity(t)
	sealed := seal(t, r, clear(t))
	if bytes.Contains(sealed, []byte("tok_a")) {
		t.Fatal("it is not encrypted")
	}
	read := func(text []byte) error {
		clear, err := backup.Open(bytes.NewReader(text), id)
		if err == nil {
			_, err = backup.Read(clear)
		}
		return err
	}
	must(t, read(sealed))
	for n := range sealed {
		if err := read(sealed[:n]); !known(err) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
		changed := bytes.Clone(sealed)
		changed[n] ^= 0x80
		if err := read(changed); !known(err) {
			t.Fatalf("byte %d changed: %v", n, err)
		}
	}
	if err := read(append(bytes.Clone(sealed), 0)); !known(err) {
		t.Errorf("more behind the end: %v", err)
	}
}

func known(err error) bool {
	return errors.Is(err, backup.ErrForeign) || errors.Is(err, backup.ErrKey) || errors.Is(err, backup.ErrDamaged)
}

func TestOnlyThePassphraseOpensWhatItSealed(t *testing.T) {
	t.Parallel()
	r, err := backup.ForPassphrase(authority.NewSecret("correct horse battery staple"))
	must(t, err)
	sealed := seal(t, r, clear(t))
	for passphrase, want := range map[string]error{"correct horse battery staple": nil, "correct horse battery stapl": backup.ErrKey} {
		id, err := backup.ByPassphrase(authority.NewSecret(passphrase))
		must(t, err)
		clear, err := backup.Open(bytes.NewReader(sealed), id)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", passphrase, err, want)
		}
		if err == nil {
			_, err = backup.Check(clear)
			must(t, err)
		}
	}
	other, _ := identity(t)
	if _, err := backup.Open(bytes.NewReader(sealed), other); !errors.Is(err, backup.ErrKey) {
		t.Errorf("an identity: %v", err)
	}
}

func TestKeysAreReadAndNeverTold(t *testing.T) {
	t.Parallel()
	id, _ := identity(t)
	all, err := backup.ByIdentities(authority.NewSecret("# made for tests\n" + id.String() + "\n"))
	if err != nil || len(all) != 1 {
		t.Errorf("%d identities, %v", len(all), err)
	}
	wrong := strings.ToLower(id.String())
	if _, err := backup.ByIdentities(authority.NewSecret(wrong)); err == nil || strings.Contains(err.Error(), wrong[:20]) {
		t.Errorf("a wrong identity: %v", err)
	}
	for _, text := range []string{"", "age1", "ssh-ed25519 AAAA", id.Recipient().String() + "\n" + id.Recipient().String(), id.String()} {
		if _, err := backup.ForRecipient(text); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("recipient %.10q: %v", text, err)
		}
	}
}

// A source that fails half-way makes no backup.
func TestAFailureOfTheSourceIsTold(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	s := content().Source()
	s.Tokens = func(yield func(authority.Token, error) bool) { yield(authority.Token{}, broken) }
	var b bytes.Buffer
	if _, err := backup.Write(&b, s); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := backup.Read(&b); err == nil {
		t.Error("and it is read as one")
	}
	if _, err := backup.Write(failing{}, content().Source()); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
