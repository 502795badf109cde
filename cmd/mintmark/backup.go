package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mintmark/internal/authority"
	"mintmark/internal/backup"
	"mintmark/internal/edge"
	"mintmark/internal/home"
)

// opening is how a backup is closed and opened again.
type opening struct {
	passphraseFile string
	recipient      string // of age, "age1…": only its identity opens the backup
	identityFile   string
}

func (c *cli) backupCommand() *cobra.Command {
	return c.group("backup", "Make, look at and restore encrypted backups",
		c.example("manager backup create", "manager backup restore /mnt/backups/tokens-01.age"),
		c.createBackup(), c.inspectBackup(), c.restoreBackup())
}

func (c *cli) createBackup() *cobra.Command {
	var with opening
	var out string
	cmd := local(&cobra.Command{
		Use: "create", Short: "Write everything this installation needs to go on elsewhere to one encrypted file", Args: exactly(0, 0),
		Long: "Keys, tokens, administrators, the audit log and the applied properties, at one moment, whether the server runs\n" +
			"or not. The file is encrypted (age-encryption.org) with a passphrase, or for the holder of an age identity:\n" +
			"then this machine cannot read it. Keep it on another machine, and the passphrase on a third.",
		Example: c.example("manager backup create --out /mnt/backups/tokens-01.age --passphrase-file /root/passphrase",
			"manager backup create --recipient age1… --out - | ssh elsewhere 'cat > tokens-01.age'"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := c.dir()
			if err != nil {
				return err
			}
			return c.backUp(cmd.Context(), dir, out, with)
		},
	})
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "the file, which must be new; - is the output; the default is a new file in DIR/backups")
	f.StringVar(&with.passphraseFile, "passphrase-file", "", "read the passphrase from this file (- is the input) instead of asking for it")
	f.StringVar(&with.recipient, "recipient", "", "encrypt for this age public key (age1…) instead of a passphrase")
	return cmd
}

func (c *cli) inspectBackup() *cobra.Command {
	var with opening
	cmd := local(&cobra.Command{
		Use: "inspect FILE", Short: "Check a backup to its last byte and say what is in it", Args: exactly(1, 1),
		Long:    "It reads the file and nothing else, and changes nothing; no installation directory is needed.",
		Example: c.example("manager backup inspect tokens-01.age", "manager backup inspect tokens-01.age --identity-file backup.key -o json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var facts backup.Facts
			_, err := c.openBackup(cmd.Context(), args[0], with, func(from io.Reader) error {
				var err error
				facts, err = backup.Check(from)
				return err
			})
			if err != nil {
				return err
			}
			return c.printBackup(args[0], facts)
		},
	})
	with.reading(cmd)
	return cmd
}

// reading adds the flags of who opens a backup.
func (o *opening) reading(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.passphraseFile, "passphrase-file", "", "read the passphrase from this file (- is the input) instead of asking for it")
	f.StringVar(&o.identityFile, "identity-file", "", "the age identity (AGE-SECRET-KEY-…) that the backup was made for")
}

// backUp writes a backup of a home, through its server when it runs.
func (c *cli) backUp(ctx context.Context, dir home.Dir, out string, with opening) (err error) {
	recipient, err := c.recipient(ctx, with)
	if err != nil {
		return err
	}
	to, name, err := c.backupFile(dir, out)
	if err != nil {
		return err
	}
	done := c.patience("Writing the backup")
	facts, err := c.sealBackup(ctx, to, recipient)
	done()
	if out == "-" {
		return err
	}
	if err = errors.Join(err, to.Sync(), to.Close()); err == nil {
		err = syncFolder(filepath.Dir(name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	c.say("Backed up %s, %s and %s to %s.", plural(facts.Counts.Tokens, "token"), plural(facts.Counts.Keys, "key"), plural(facts.Counts.Admins, "administrator"), name)
	if strings.HasPrefix(name, string(dir)+string(filepath.Separator)) {
		c.warn("it is on the disk that it is a backup of: copy it to another machine")
	}
	if !c.asJSON() {
		c.tell("%s", name)
		return nil
	}
	return c.printBackup(name, facts)
}

// backupFile reserves the file before anything is read.
func (c *cli) backupFile(dir home.Dir, out string) (to *os.File, name string, err error) {
	switch out {
	case "-":
		f, ok := c.out.(*os.File)
		if !ok || terminal(f) {
			return nil, "", fail(exitUsage, "usage", "a backup is no text for a terminal; send it on, or give --out FILE")
		}
		return f, "-", nil
	case "":
		if err := os.Mkdir(dir.Backups(), 0o700); err != nil && !os.IsExist(err) {
			return nil, "", err
		}
		host, _ := os.Hostname()
		name = filepath.Join(dir.Backups(), filepath.Base(host)+"-"+time.Now().UTC().Format("20060102T150405.000Z")+".age")
	default:
		if name, err = filepath.Abs(out); err != nil {
			return nil, "", err
		}
	}
	to, err = newFile(name)
	return to, name, err
}

// sealBackup encrypts what the server, or this process in its place, answers,
// and checks that it is whole.
func (c *cli) sealBackup(ctx context.Context, to io.Writer, recipient backup.Recipient) (backup.Facts, error) {
	sealed, err := backup.Seal(to, recipient)
	if err != nil {
		return backup.Facts{}, err
	}
	clear, err := c.takeBackup(ctx)
	if err != nil {
		return backup.Facts{}, err
	}
	facts, err := backup.Check(io.TeeReader(clear, sealed))
	return facts, errors.Join(err, clear.Close(), sealed.Close())
}

// backupPath is where the socket, and nothing else, answers a backup.
const backupPath = "/local/backup"

// takeBackup answers a backup in the clear, which never leaves this machine's
// memory but by the socket that only the service's user can open.
func (c *cli) takeBackup(ctx context.Context) (io.ReadCloser, error) {
	l, err := c.reach(ctx, how{})
	if err != nil {
		return nil, err
	}
	if l.core != nil {
		from, to := io.Pipe()
		go func() {
			err := l.core.writeBackup(ctx, l.core.self(), to)
			_ = to.CloseWithError(errors.Join(err, l.Close()))
		}()
		return from, nil
	}
	dir, err := c.dir()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://home"+backupPath, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := dir.Client().Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		_ = answer.Body.Close()
		return nil, fail(exitOf(answer.StatusCode), "backup.refused", "the server refused: %s; look into %s", answer.Status, dir.Log())
	}
	return answer.Body, nil
}

// serveBackup answers the socket.
func (k *core) serveBackup(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it takes as long as it takes
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	by := authority.LocalOperator(k.operator, authority.Origin{RequestID: edge.Of(r).RequestID})
	if err := k.writeBackup(r.Context(), by, w); err != nil {
		k.log.Error("a backup did not finish", "error", err)
		panic(http.ErrAbortHandler) // whoever reads it sees that it has no end
	}
}

// writeBackup writes the state of this moment in the clear.
func (k *core) writeBackup(ctx context.Context, by authority.Caller, to io.Writer) error {
	settings := k.running.Settings()
	s := backup.Source{
		Facts: backup.Facts{
			Product: version(), Host: k.host, Issuer: settings.Issuer, CreatedAt: k.clock.Now(), Store: k.authority.Facts().Kind,
		},
		Properties: map[string]string{},
	}
	if book := k.control.Book; book != nil {
		s.Properties = book.Kept() // what is on trial is not for good
	}
	return k.authority.Snapshot(ctx, by, func() { s.Keyring = k.ring.UnsafeText() }, func(tx authority.Tx) (err error) {
		if s.Records, err = authority.ReadRecords(tx); err != nil {
			return err
		}
		s.Facts.Generation = s.Records.System.Generation
		if s.Facts.LastEvent, err = authority.LastEvent(tx.Audit()); err != nil {
			return err
		}
		s.Tokens, s.Events = tx.Tokens().All(), authority.EventsAfter(tx.Audit(), 0)
		_, err = backup.Write(to, s)
		return err
	})
}

// recipient is for whom a backup is encrypted.
func (c *cli) recipient(ctx context.Context, with opening) (backup.Recipient, error) {
	if with.recipient != "" {
		if with.passphraseFile != "" {
			return nil, fail(exitUsage, "usage", "give --recipient or --passphrase-file, not both")
		}
		r, err := backup.ForRecipient(with.recipient)
		if err != nil {
			return nil, fail(exitInvalid, "backup.recipient", "%s", err)
		}
		return r, nil
	}
	passphrase, err := c.passphrase(ctx, with.passphraseFile, true)
	if err != nil {
		return nil, err
	}
	return backup.ForPassphrase(passphrase)
}

// passphrase reads one from a file, or asks for it without echo: twice for a
// new one.
func (c *cli) passphrase(ctx context.Context, file string, isNew bool) (authority.Secret, error) {
	var text string
	var err error
	if file != "" {
		text, err = c.secretFile(file, "passphrase")
	} else {
		text, err = c.askPassphrase(ctx, isNew)
	}
	if err == nil && text == "" {
		err = fail(exitInvalid, "passphrase.empty", "a backup has a passphrase; nothing was done")
	}
	if err != nil {
		return authority.Secret{}, err
	}
	if isNew && len([]rune(text)) < 15 {
		c.warn("a passphrase of less than 15 characters can be guessed by whoever finds the file")
	}
	return authority.NewSecret(text), nil
}

func (c *cli) askPassphrase(ctx context.Context, isNew bool) (string, error) {
	in, ok := c.in.(*os.File)
	if !ok || !c.asks() {
		return "", fail(exitConfirm, "passphrase.needed", "a passphrase is needed. Pass --passphrase-file FILE, or - for the input")
	}
	echo, err := silence(int(in.Fd()))
	if err != nil {
		return "", fmt.Errorf("ask for the passphrase: %w", err)
	}
	defer echo()
	first, err := c.line(ctx, "Passphrase of the backup: ")
	if err != nil || !isNew {
		return first, err
	}
	second, err := c.line(ctx, "The same again: ")
	if err == nil && first != second {
		err = fail(exitInvalid, "passphrase.differs", "the two passphrases differ; nothing was done")
	}
	return first, err
}

// openBackup decrypts a file for read, whose answer counts only when it has read
// to the end. It answers who can read what is to be sealed as the file is.
func (c *cli) openBackup(ctx context.Context, path string, with opening, read func(io.Reader) error) (backup.Recipient, error) {
	f, err := oldFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	identities, alike, err := c.identities(ctx, with)
	if err != nil {
		return nil, err
	}
	done := c.patience("Reading the backup")
	defer done()
	clear, err := backup.Open(f, identities...)
	if err == nil {
		err = read(clear)
	}
	return alike, unreadable(path, err)
}

// unreadable says what is wrong with a backup.
func unreadable(path string, err error) error {
	for kind, code := range map[error]string{backup.ErrForeign: "backup.foreign", backup.ErrNewer: "backup.newer", backup.ErrDamaged: "backup.damaged"} {
		if errors.Is(err, kind) {
			return fail(exitInvalid, code, "%s cannot be used: %s; nothing was changed", path, kind)
		}
	}
	if errors.Is(err, backup.ErrKey) {
		return fail(exitNotAllowed, "backup.passphrase", "%s: %s; nothing was changed", path, err).advise("it was made with a passphrase (--passphrase-file) or for an age identity (--identity-file)")
	}
	return err
}

// identities are those that open a backup, and who could read another one that is
// sealed alike.
func (c *cli) identities(ctx context.Context, with opening) ([]backup.Identity, backup.Recipient, error) {
	if with.identityFile != "" {
		if with.passphraseFile != "" {
			return nil, nil, fail(exitUsage, "usage", "give --identity-file or --passphrase-file, not both")
		}
		text, err := c.secretFile(with.identityFile, "identity")
		if err != nil {
			return nil, nil, err
		}
		all, err := backup.ByIdentities(authority.NewSecret(text))
		if err != nil {
			return nil, nil, fail(exitInvalid, "backup.identity", "%s: %s", with.identityFile, err)
		}
		return all, backup.RecipientOf(all), nil
	}
	passphrase, err := c.passphrase(ctx, with.passphraseFile, false)
	if err != nil {
		return nil, nil, err
	}
	one, err := backup.ByPassphrase(passphrase)
	if err != nil {
		return nil, nil, err
	}
	alike, err := backup.ForPassphrase(passphrase)
	return []backup.Identity{one}, alike, err
}

// backedUp is a backup as the commands print it.
type backedUp struct {
	File       string    `json:"file"`
	CreatedAt  time.Time `json:"created_at"`
	Version    string    `json:"version"`
	Host       string    `json:"host"`
	Issuer     string    `json:"issuer"`
	Store      string    `json:"store"`
	Generation uint64    `json:"generation"`
	Tokens     int       `json:"tokens"`
	Receipts   int       `json:"receipts"`
	Keys       int       `json:"keys"`
	Admins     int       `json:"admins"`
	Events     int       `json:"events"`
	LastEvent  uint64    `json:"last_event"`
	EventHash  string    `json:"event_hash"`
	Digest     string    `json:"digest"`
}

func (c *cli) printBackup(file string, f backup.Facts) error {
	b := backedUp{
		File: file, CreatedAt: f.CreatedAt, Version: f.Product, Host: f.Host, Issuer: f.Issuer, Store: f.Store, Generation: f.Generation,
		Tokens: f.Counts.Tokens, Receipts: f.Counts.Receipts, Keys: f.Counts.Keys, Admins: f.Counts.Admins, Events: f.Counts.Events,
		LastEvent: f.LastEvent.Seq, EventHash: f.LastEvent.Hash, Digest: "sha256:" + f.Digest,
	}
	return c.one("Backup", b, [][]string{
		{"file", b.File},
		{"created", c.when(&b.CreatedAt, "–")},
		{"written by", b.Version + " on " + b.Host},
		{"issuer", b.Issuer},
		{"store", b.Store},
		{"holds", fmt.Sprintf("%s, %s, %s", plural(b.Tokens, "token"), plural(b.Keys, "key"), plural(b.Admins, "administrator"))},
		{"audit log", fmt.Sprintf("%s, the last is number %d", plural(b.Events, "event"), b.LastEvent)},
		{"generation", fmt.Sprint(b.Generation)},
		{"digest", b.Digest},
	})
}

// syncFolder makes the name of a new file last.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
