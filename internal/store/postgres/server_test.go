package postgres_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/store/postgres"
	"mintmark/internal/store/postgrestest"
	"mintmark/internal/store/storetest"
	"mintmark/internal/store/usagesql"
)

// TestAnOrderIsBytewiseWhateverTheDatabaseSortsBy uses a database whose own order
// looks past case and accents.
func TestAnOrderIsBytewiseWhateverTheDatabaseSortsBy(t *testing.T) {
	server := postgrestest.Shared(t)
	like := `TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-ks-level1' LOCALE 'C.UTF-8'`
	sorts := func(address string) bool {
		var yes bool
		if err := plain(t, address).QueryRow(`SELECT 'a-b' < 'aa' AND 'B' > 'a'`).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		return yes
	}
	if address := server.URL(server.Database(t, like)); !sorts(address) {
		t.Fatal("the database sorts bytewise: the test shows nothing")
	}
	storetest.Lists(t, func(t *testing.T) storetest.Harness {
		return harness(t, create(t, server.URL(server.Database(t, like))))
	})
}

// TestANodeNeedsNoMoreThanRows makes the roles that deploy/ tells of, the store as
// the owner, and works on it as a node.
func TestANodeNeedsNoMoreThanRows(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("SKIPPED: psql is not installed")
	}
	server := postgrestest.Start(t)
	out, err := exec.Command(psql, "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file", "../../../deploy/fleet/postgres/roles.sql", server.URL("postgres")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	as := func(role string) string { return strings.Replace(server.URL("mintmark"), "postgres@", role+"@", 1) }
	create(t, as("mintmark_owner"))
	node := postgres.Config{URL: as("mintmark"), Now: time.Now, Rand: rand.Reader}
	s := open(t, node)
	if err := errors.Join(issue(s, 1), s.UsedAt(context.Background(), []authority.Used{{ID: storetest.Token(1).ID, At: time.Now()}})); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	if !there(t, s, 1) {
		t.Error("what the node wrote is not there")
	}
	for _, text := range []string{"DROP TABLE tokens", "ALTER TABLE head ADD COLUMN x text", "CREATE TABLE other (x text)", "TRUNCATE audit"} {
		if _, err := plain(t, node.URL).Exec(text); err == nil {
			t.Errorf("a node may %s", text)
		}
	}
}

// TestANodeHasAsManyConnectionsAsTheDocumentsSay has more callers than those wait in
// transactions of views while others change something.
func TestANodeHasAsManyConnectionsAsTheDocumentsSay(t *testing.T) {
	for _, document := range []string{"stores.md", "fleet.md"} {
		text, err := os.ReadFile("../../../docs/" + document)
		if words := fmt.Sprintf("at most %d connections", postgres.Connections+usagesql.Connections); err != nil || !strings.Contains(string(text), words) {
			t.Errorf("%s does not say %q: %v", document, words, err)
		}
	}
	cfg := newStore(t)
	s := open(t, cfg)
	if err := issue(s, 1); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	enough := make(chan struct{})
	for i := range 3 * postgres.Connections {
		callers.Go(func() {
			if err := s.View(t.Context(), func(tx authority.Tx) error {
				_, err := tx.Tokens().Get(storetest.Token(1).ID)
				<-enough
				return err
			}); err != nil {
				t.Error(err)
			}
		})
		callers.Go(func() {
			_, err := s.Nodes(t.Context())
			if err = errors.Join(err, issue(s, i+2)); err != nil {
				t.Error(err)
			}
		})
	}
	look, most, connections := plain(t, cfg.URL), 0, 0
	eventually(t, "views wait in as many sessions as there are", 10*time.Second, func() bool {
		var waiting int
		if err := look.QueryRow(`SELECT count(*), count(*) FILTER (WHERE state = 'idle in transaction') FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'mintmark' AND pid <> pg_backend_pid()`).Scan(&connections, &waiting); err != nil {
			t.Fatal(err)
		}
		most = max(most, connections)
		return waiting >= postgres.Connections-3
	})
	close(enough)
	callers.Wait()
	if most > postgres.Connections {
		t.Errorf("%d connections", most)
	}
}

// certificates makes an authority and a certificate for a name, and answers the
// files.
func certificates(t *testing.T, dir string, names ...string) (ca, cert, key string) {
	t.Helper()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pair := func(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, by = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		made, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return made, key, der
	}
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
	}
	root := template("root")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	rootCert, rootKey, der := pair(root, nil, nil)
	ca = write("ca.pem", "CERTIFICATE", der)
	leaf := template("server")
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, n)
		}
	}
	_, leafKey, der := pair(leaf, rootCert, rootKey)
	cert = write("server.pem", "CERTIFICATE", der)
	raw, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	return ca, cert, write("server.key", "PRIVATE KEY", raw)
}

// TestTLSIsForTheRightServerAlone asks for verify-full of a server whose
// certificate is right for its name, is for another, or is signed by another.
func TestTLSIsForTheRightServerAlone(t *testing.T) {
	dir, strange := t.TempDir(), t.TempDir()
	ca, cert, key := certificates(t, dir, "localhost")
	other, _, _ := certificates(t, strange, "localhost")
	server := postgrestest.StartWith(t, []string{cert, key}, "ssl=on", "ssl_cert_file=server.pem", "ssl_key_file=server.key")
	create(t, server.URL("postgres"))
	for name, c := range map[string]struct {
		host, root string
		ok         bool
	}{
		"the right one":            {"localhost", ca, true},
		"another name":             {"127.0.0.1", ca, false},
		"another authority":        {"localhost", other, false},
		"an authority not there":   {"localhost", filepath.Join(dir, "none.pem"), false},
		"the system's authorities": {"localhost", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			address := fmt.Sprintf("postgres://postgres@%s:%d/postgres?sslmode=verify-full", c.host, server.Port)
			if c.root != "" {
				address += "&sslrootcert=" + c.root
			}
			s, err := postgres.Open(context.Background(), postgres.Config{URL: address, Now: time.Now, Rand: rand.Reader})
			if (err == nil) != c.ok {
				t.Errorf("opened: %v", err)
			}
			if err == nil {
				defer s.Close()
				var encrypted bool
				if err := plain(t, address).QueryRow(`SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`).Scan(&encrypted); err != nil || !encrypted {
					t.Errorf("encrypted %v, %v", encrypted, err)
				}
			}
		})
	}
}

// TestAStoreThatCannotBeReliedOnIsRefused opens what is no store, or none that
// lasts.
func TestAStoreThatCannotBeReliedOnIsRefused(t *testing.T) {
	server := postgrestest.Shared(t)
	cfg := newStore(t)
	empty := server.Schema(t)
	for name, c := range map[string]struct{ address, want string }{
		"commits are not synced": {cfg.URL + "&options=-csynchronous_commit%3Doff", "synchronous_commit"},
		"no store":               {empty, "no store"},
		"no database":            {server.URL("nowhere"), "nowhere"},
		"no address":             {"postgres://user:hunter2%zz@host/x", "address"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := postgres.Open(context.Background(), postgres.Config{URL: c.address, Now: time.Now, Rand: rand.Reader})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := postgres.Create(context.Background(), cfg); !errors.Is(err, postgres.ErrStore) {
		t.Errorf("created twice: %v", err)
	}
}

// TestAStoreThatIsMadeTwiceAtOnceIsMadeOnce lets nodes found a fleet together.
func TestAStoreThatIsMadeTwiceAtOnceIsMadeOnce(t *testing.T) {
	cfg := postgres.Config{URL: postgrestest.Shared(t).Schema(t), Now: time.Now, Rand: rand.Reader}
	answers := make(chan error, 4)
	for range 4 {
		go func() { answers <- postgres.Create(context.Background(), cfg) }()
	}
	made := 0
	for range 4 {
		switch err := <-answers; {
		case err == nil:
			made++
		case !errors.Is(err, postgres.ErrStore):
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
	var rows int
	if err := plain(t, cfg.URL).QueryRow(`SELECT count(*) FROM head`).Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d heads, %v", rows, err)
	}
}
