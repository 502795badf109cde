package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"mintmark/internal/authority"
	"mintmark/internal/backup"
	"mintmark/internal/config"
	"mintmark/internal/durable"
	"mintmark/internal/home"
	"mintmark/internal/signing"
)

// restoration is what backup restore is asked for.
type restoration struct {
	opening
	file, tokens, store string
	dry                 bool
}

func (c *cli) restoreBackup() *cobra.Command {
	var in restoration
	cmd := local(&cobra.Command{
		Use: "restore FILE", Short: "Put the state of a backup in the place of this installation's", Args: exactly(1, 1),
		Long: "The server is stopped. What is here is kept beside the restored state, in DIR/kept. Properties that name an\n" +
			"address or a file of the machine stay as they are here; init makes an installation to restore into.\n\n" +
			"A token that ended after the backup was made does not come back. The audit log of the installation that was\n" +
			"backed up tells which those are. Elsewhere nobody knows, and --tokens says what becomes of them: with revoke\n" +
			"every token ends and the keys are new, with keep those that have ended since are valid again. Without a person\n" +
			"to ask it is revoke. Every sign-in ends. The host name confirms it (--confirm).",
		Example: c.example("manager backup restore /mnt/backups/tokens-01.age",
			"manager backup restore tokens-01.age --tokens keep --passphrase-file /root/passphrase --confirm \"$(hostname)\""),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := c.dir()
			if err != nil {
				return err
			}
			in.file = args[0]
			return c.restore(cmd.Context(), dir, in)
		},
	})
	in.reading(cmd)
	f := cmd.Flags()
	f.StringVar(&in.tokens, "tokens", "", "revoke ends every token, keep trusts the backup where nobody knows what has ended since")
	f.StringVar(&in.store, "store", "", "where tokens last from now on; the default is this installation's store")
	f.BoolVar(&in.dry, "dry-run", false, "only say what it would do")
	offer(cmd, "tokens", string(authority.RestoreRevoke), string(authority.RestoreKeep))
	return cmd
}

func (c *cli) restore(ctx context.Context, dir home.Dir, in restoration) (err error) {
	if t := authority.RestoreTokens(in.tokens); t != "" && t != authority.RestoreRevoke && t != authority.RestoreKeep {
		return fail(exitUsage, "usage", "--tokens is revoke or keep, not %q", in.tokens)
	}
	if state, pid, err := dir.Process(c.files); err != nil {
		return err
	} else if state == home.Running {
		return fail(exitConflict, "server.running", "the server runs (pid %d); a backup is restored into a stopped one", pid).advise("stop it with: manager stop")
	}
	var content *backup.Content
	alike, err := c.openBackup(ctx, in.file, in.opening, func(from io.Reader) error {
		var err error
		content, err = backup.Read(from)
		return err
	})
	if err != nil {
		return err
	}
	r, held, err := c.survey(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	r.in, r.content = in, content
	if err := r.prepare(); err != nil {
		return err
	}
	if err := c.mayPut(ctx, r.settings.Store); err != nil {
		return err
	}
	if err := c.mayReplace(ctx, r.settings.Store, r.applied[config.Store]); err != nil {
		return err
	}
	if err := c.chooseTokens(ctx, r); err != nil {
		return err
	}
	plan, did, err := r.plan()
	if err != nil {
		return err
	}
	c.sayRestore(r, did)
	if in.dry {
		return c.dryRun(rehearsed{
			Would:  fmt.Sprintf("Would put the state of %s in the place of what is in %s.", in.file, dir),
			Counts: map[string]int{"tokens_active": did.Active, "tokens_ended": did.Ended, "tokens_lost": did.Lost},
		})
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	if err := c.typed(ctx, host, "restoring a backup replaces the state of "+string(dir), "to continue"); err != nil {
		return err
	}
	if err := c.keepShared(r, alike); err != nil {
		return err
	}
	var text bytes.Buffer
	if _, err := backup.Write(&text, plan.Source()); err != nil {
		return err
	}
	// From here on the restore is done: whoever opens the home next finishes it.
	if err := c.files.Write(dir.Restore(), text.Bytes()); err != nil {
		return err
	}
	if err := c.finishRestore(ctx, dir); err != nil {
		return err
	}
	return c.sayRestored(r, did)
}

// restoring is one restore before it is certain.
type restoring struct {
	in      restoration
	dir     home.Dir
	content *backup.Content
	at      time.Time
	id      string
	here    func(authority.Place) (authority.Here, error)
	ring    *signing.Ring     // of this home; nil when it does not open
	log     []authority.Event // of this home
	inFiles bool              // that log is in a file
	shared  bool              // its store is a database that others use too
	applied map[string]string // of this home; nil when it does not open
	broken  error             // why it does not open

	known      authority.Here
	properties map[string]string
	settings   config.Settings
	tokens     authority.RestoreTokens
}

// survey looks at a home that is about to be replaced, and takes its lock.
func (c *cli) survey(ctx context.Context, dir home.Dir) (*restoring, *durable.Held, error) {
	now := time.Now().UTC()
	r := &restoring{dir: dir, at: now, id: now.Format("20060102T150405Z") + "-" + newID()[:6]}
	k, err := c.openCore(ctx, dir, how{})
	if err != nil && withoutTokens(err) {
		r.broken = err
		k, err = c.openCore(ctx, dir, how{noTokens: true})
	}
	// Not before: whoever opens a home finishes a restore that was cut short.
	if book, err := config.Open(c.files, dir.Config()); err == nil {
		r.applied = book.Kept()
	}
	var locked *durable.LockedError
	switch {
	case errors.As(err, &locked):
		return nil, nil, err
	case err != nil:
		r.broken = err
		r.here = func(authority.Place) (authority.Here, error) { return authority.Here{}, nil }
		held, err := lock(ctx, dir, c.files, patient)
		return r, held, err
	}
	if err := k.alone(ctx); err != nil {
		return nil, nil, errors.Join(err, k.Close())
	}
	held := k.held
	k.held = nil // it stays locked until the restore is done
	inFiles := k.local() != nil
	all, tokens, log, err := k.everything(ctx)
	if err = errors.Join(err, k.Close()); err != nil {
		return nil, nil, errors.Join(err, held.Close())
	}
	r.ring, r.log, r.inFiles, r.shared = k.ring, log, inFiles, k.fleet != nil
	r.here = func(at authority.Place) (authority.Here, error) {
		all.Tokens = tokens
		here := authority.Here{Records: all}
		for i, e := range log {
			if at.Seq > 0 && e.Seq == at.Seq && e.Hash == at.Hash {
				here.Known, here.Since = true, log[i+1:]
			}
		}
		return here, nil
	}
	return r, held, nil
}

// everything reads a store that is closed afterwards.
func (k *core) everything(ctx context.Context) (all authority.Records, tokens []authority.Token, log []authority.Event, err error) {
	err = k.store.View(ctx, func(tx authority.Tx) (err error) {
		if all, err = authority.ReadRecords(tx); err != nil {
			return err
		}
		for t, err := range tx.Tokens().All() {
			if err != nil {
				return err
			}
			tokens = append(tokens, t)
		}
		for e, err := range authority.EventsAfter(tx.Audit(), 0) {
			if err != nil {
				return err
			}
			log = append(log, e)
		}
		return nil
	})
	return all, tokens, log, err
}

// prepare settles what depends on both the backup and this home.
func (r *restoring) prepare() (err error) {
	if r.known, err = r.here(r.content.LastEvent); err != nil {
		return err
	}
	r.properties = map[string]string{}
	for name, value := range r.content.Properties {
		if p, err := config.Lookup(name); err != nil || r.applied == nil || !ofTheMachine(p) {
			r.properties[name] = value
		}
	}
	for name, value := range r.applied {
		if p, err := config.Lookup(name); err == nil && ofTheMachine(p) {
			r.properties[name] = value
		}
	}
	if r.in.store != "" {
		r.properties[config.Store] = r.in.store
	}
	if _, r.settings, err = config.Resolve(config.Layers{File: r.properties}); err != nil {
		return fail(exitInvalid, "config.invalid", "the properties of the backup cannot be used here: %s; nothing was changed", err)
	}
	path := r.settings.Store
	if path == "" {
		return fail(exitInvalid, "store.memory", "this installation keeps its tokens in memory; nothing was changed").advise("name a place where they last: --store " + r.dir.Tokens())
	}
	return nil
}

// ofTheMachine reports a property that says something of the machine, not of
// the authority.
func ofTheMachine(p config.Property) bool {
	return p.Type == "path" || p.Type == "address" || p.Type == "store"
}

// chooseTokens decides what becomes of tokens of which nobody knows whether they
// have ended.
func (c *cli) chooseTokens(ctx context.Context, r *restoring) error {
	r.tokens = authority.RestoreTokens(r.in.tokens)
	if r.tokens != "" || r.known.Known {
		return nil
	}
	r.tokens = authority.RestoreRevoke
	if !c.asks() {
		return nil
	}
	c.say("This installation does not know which tokens ended after %s, when the backup was made.", c.until(r.content.CreatedAt))
	answer, err := c.prompt(ctx, "End every token (revoke), or let those that have ended since be valid again (keep)? [revoke] ")
	if err != nil {
		return err
	}
	switch authority.RestoreTokens(answer) {
	case "", authority.RestoreRevoke:
	case authority.RestoreKeep:
		r.tokens = authority.RestoreKeep
	default:
		return unchanged(exitConfirm, "confirmation.declined")
	}
	return nil
}

// plan is the state that will be, whole: nothing else is needed to get there.
func (r *restoring) plan() (*backup.Content, authority.Returned, error) {
	ring, err := signing.Parse(r.content.Keyring, rand.Reader)
	if err != nil {
		return nil, authority.Returned{}, fail(exitInvalid, "backup.damaged", "%s: %s; nothing was changed", r.in.file, err)
	}
	if r.ring != nil {
		if err := ring.Adopt(r.ring); err != nil {
			return nil, authority.Returned{}, err
		}
	}
	what := authority.Restoring{
		By: authority.LocalOperator(operator(), authority.Origin{}), At: r.at, ID: r.id, From: filepath.Base(r.in.file), Taken: r.content.CreatedAt, Tokens: r.tokens,
	}
	if r.tokens == authority.RestoreRevoke {
		for i := range what.Fresh {
			what.Fresh[i].Algorithm = r.settings.Algorithm
			if what.Fresh[i].ID, err = ring.Generate(r.settings.Algorithm); err != nil {
				return nil, authority.Returned{}, err
			}
		}
	}
	records, did, event := what.Return(r.content.Records, r.known)
	var keep []authority.KeyID
	for _, k := range records.Keys {
		if k.State == authority.KeyRetired {
			continue
		}
		if !ring.Has(k.ID) {
			return nil, did, fail(exitInvalid, "key.secret_missing", "the secret of %s is in neither keyring; nothing was changed", k.Name).advise("every token has to end: --tokens revoke")
		}
		keep = append(keep, k.ID)
	}
	if err := ring.Keep(keep); err != nil {
		return nil, did, err
	}
	plan := &backup.Content{Facts: r.content.Facts, Keyring: ring.UnsafeText(), Properties: r.properties, Records: records, Restored: &event}
	kind, _ := config.StorePlace(r.settings.Store)
	switch {
	case !r.known.Known:
		plan.Events = r.content.Events
	case !r.inFiles || kind.Whole(): // else it stays where it is
		plan.Events = r.log
	}
	return plan, did, nil
}

// keepShared backs up what is in a database that is written over, sealed as the
// backup is that is restored: all else is kept as the files that it is in.
func (c *cli) keepShared(r *restoring, alike backup.Recipient) error {
	if !r.shared {
		return nil
	}
	before := backup.Content{
		Facts: backup.Facts{
			Product: version(), Host: r.content.Host, Issuer: r.settings.Issuer, CreatedAt: r.at, Store: string(config.StorePostgres), Generation: r.known.System.Generation,
		},
		Keyring: r.ring.UnsafeText(), Properties: r.applied, Records: r.known.Records, Events: r.log,
	}
	if n := len(r.log); n > 0 {
		before.LastEvent = authority.Place{Seq: r.log[n-1].Seq, Hash: r.log[n-1].Hash}
	}
	if alike == nil {
		return fail(exitInvalid, "backup.identity", "what is in the database cannot be kept for that identity; nothing was changed").advise("make a backup of it first, and restore by a passphrase or an X25519 identity")
	}
	var sealed bytes.Buffer
	to, err := backup.Seal(&sealed, alike)
	if err != nil {
		return err
	}
	if _, err := backup.Write(to, before.Source()); err != nil {
		return err
	}
	if err := errors.Join(to.Close(), os.MkdirAll(r.dir.Kept(r.id), 0o700)); err != nil {
		return err
	}
	return c.files.CreateNew(filepath.Join(r.dir.Kept(r.id), "before.age"), sealed.Bytes())
}

// sayRestore says what is about to happen.
func (c *cli) sayRestore(r *restoring, did authority.Returned) {
	f := r.content.Facts
	c.say("%s is a backup of %s, made %s: %s, %s.", r.in.file, f.Host, c.until(f.CreatedAt),
		plural(f.Counts.Tokens, "token"), plural(f.Counts.Admins, "administrator"))
	if r.broken != nil {
		c.say("What is here does not open as it is: %s", r.broken)
	}
	switch {
	case r.tokens == authority.RestoreRevoke:
		c.say("Every token ends, and the signing secret is new.")
	case did.Known:
		c.say("The audit log here knows what happened since. %s valid; what ended since stays ended: %s.", areOrIs(did.Active), plural(did.Ended, "token"))
	default:
		c.warn("tokens that were deleted after the backup was made are valid again")
	}
	if did.Lost > 0 {
		c.say("%s made here since then: ended.", wereOrWas(did.Lost))
	}
	c.say("Every sign-in ends. The state that is here now is kept in %s.", r.dir.Kept(r.id))
}

func areOrIs(n int) string {
	if n == 1 {
		return "1 token is"
	}
	return fmt.Sprintf("%d tokens are", n)
}

// restored is a restore as the command prints it.
type restored struct {
	File       string    `json:"file"`
	TakenAt    time.Time `json:"taken_at"`
	Tokens     string    `json:"tokens"` // "known", "revoke" or "keep"
	Active     int       `json:"tokens_active"`
	Ended      int       `json:"tokens_ended"` // valid in the backup and not any more
	Lost       int       `json:"tokens_lost"`  // made since the backup
	Generation uint64    `json:"generation"`
	Kept       string    `json:"kept"`
}

func (c *cli) sayRestored(r *restoring, did authority.Returned) error {
	out := restored{
		File: r.in.file, TakenAt: r.content.CreatedAt, Tokens: string(r.tokens), Active: did.Active, Ended: did.Ended, Lost: did.Lost,
		Kept: r.dir.Kept(r.id), Generation: max(r.content.Generation, r.known.System.Generation) + 1,
	}
	if did.Known && r.tokens != authority.RestoreRevoke {
		out.Tokens = "known"
	}
	c.say("Restored. %s valid; %s of the backup ended. Start it with: %s start", areOrIs(did.Active), plural(did.Ended, "token"), c.self())
	c.say("Look at %s and remove it: the secrets from before are in it.", out.Kept)
	return c.one("Restored", out, nil)
}
