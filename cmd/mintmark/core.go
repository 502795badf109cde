package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
	"mintmark/internal/durable"
	"mintmark/internal/edge"
	"mintmark/internal/home"
	"mintmark/internal/httpapi"
	"mintmark/internal/limits"
	"mintmark/internal/liveset"
	"mintmark/internal/metrics"
	"mintmark/internal/password"
	"mintmark/internal/refusals"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
	"mintmark/internal/store/move"
	"mintmark/internal/tracing"
	"mintmark/internal/usage"
)

// core is everything of a server but its listeners.
type core struct {
	dir       home.Dir // "" without a home
	held      *durable.Held
	files     durable.Files
	store     *move.Switching
	fleet     *fleet // nil: the store is this process's own
	alarms    atomic.Uint64
	ring      *signing.Ring
	live      *liveset.Set
	usage     *usage.Ledger
	counts    authority.UsageStore // nil: counts end with the process
	running   *control.Running
	authority *authority.Authority
	control   *control.Control
	api       *httpapi.API
	doors     doors
	metrics   *metrics.Metrics
	limits    *limits.Limits
	refusals  *refusals.Log
	tracing   *tracing.Tracing // nil: nothing is traced
	clock     *authority.Clock
	operator  string // user@host
	serving   bool
	apart     struct{ guard, extAuthz func() edge.Decider } // what their doors ask, however often they are opened
	changed   chan struct{}                                 // what is in force has changed
	owing     chan struct{}                                 // the event of a trial that went back is to be made
	deaf      atomic.Pointer[string]                        // why it does not listen where it should; nil: it does
	moved     move.Moved                                    // by the last move of the whole state
	progress  progress                                      // of a move
	warn      func(format string, args ...any)              // to whoever gave a command; nil: it is a server, which logs
	setup     authority.Secret                              // the one-time code of a server without an administrator
	host      string
	log       *slog.Logger
}

// how says in which way a core is opened.
type how struct {
	flags       map[string]string // properties given on the command line
	serving     bool              // it logs, and traces when the environment says so
	wait        time.Duration     // for the lock
	lostKeyring bool              // a missing keyring is made anew: for a reset only
	noTokens    bool              // leave the token store alone: it cannot be opened
	fresh       bool              // a home that init has just made: it has no keys yet
}

// openCore opens a home under its lock, or a memory-only core when dir is "".
// Nothing is created in a home but what its rooms create when they are told to.
func (c *cli) openCore(ctx context.Context, dir home.Dir, h how) (_ *core, err error) {
	k := &core{dir: dir, files: c.files, serving: h.serving, log: slog.New(slog.DiscardHandler), clock: authority.NewClock(time.Now), operator: operator(), changed: make(chan struct{}, 1), owing: make(chan struct{}, 1)}
	k.host, _ = os.Hostname()
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Close())
		}
	}()
	layers := config.Layers{Flags: h.flags, Getenv: c.getenv}
	var book *config.Book
	late := false // a trial was not confirmed in time
	if dir != "" {
		if k.held, err = lock(ctx, dir, c.files, h.wait); err != nil {
			return nil, err
		}
		if err = c.finishRestore(ctx, dir); err != nil {
			return nil, err
		}
		if book, err = config.Open(c.files, dir.Config()); err != nil {
			return nil, err
		}
		if late, err = book.EndTrial(time.Now().UTC()); err != nil {
			if h.serving {
				return nil, err
			}
			c.warn("%s: %s", notWrittenBack, err) // a full disk must not keep anybody from looking
		}
		_, layers.File = book.Applied()
	}
	if k.running, err = control.NewRunning(layers); err != nil {
		return nil, fail(exitInvalid, "config.invalid", "%s", err)
	}
	if h.serving {
		k.log = c.newLog(k.running.Settings())
		if k.tracing, err = c.openTracing(ctx, k.log); err != nil {
			return nil, err
		}
	} else {
		k.warn = c.warn
	}
	c.sayLate(k, late)
	if err = k.openStores(ctx, h); err != nil {
		return nil, err
	}
	c.sayCaughtUp(k, h)
	if err = k.openUsage(ctx, h); err != nil {
		return nil, err
	}
	if err = k.wire(book); err != nil {
		return nil, err
	}
	if err = k.load(ctx, h); err != nil {
		return nil, err
	}
	if err := k.control.CatchUp(ctx, authority.Itself()); err != nil { // a full audit log must not keep anybody from looking
		k.log.Warn(notFinished, "error", err)
		if !h.serving {
			c.warn("%s: %s", notFinished, err)
		}
	}
	if h.serving {
		if err = k.strayed(); err == nil {
			k.setup, err = k.authority.OpenSetup(ctx, k.self())
		}
		if err != nil {
			return nil, err
		}
	}
	return k, nil
}

// lock waits for the home: a start may meet the last breath of a stop.
func lock(ctx context.Context, dir home.Dir, files durable.Files, wait time.Duration) (*durable.Held, error) {
	deadline := time.Now().Add(wait)
	for {
		held, err := dir.Lock(files)
		var locked *durable.LockedError
		if err == nil || !errors.As(err, &locked) || time.Now().After(deadline) {
			return held, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (k *core) openStores(ctx context.Context, h how) error {
	tokens := k.running.Settings().Store
	if k.dir == "" {
		if tokens != "" {
			return fail(exitInvalid, "store.no_home", "a token store needs an installation directory: keys and administrators must last as long as the tokens").advise("mintmark init DIR --store " + tokens)
		}
		k.ring = signing.InMemory(rand.Reader)
	} else if err := k.openCustody(h); err != nil {
		return err
	}
	opened, err := k.openStore(ctx, tokens, h)
	var locked *durable.LockedError
	switch {
	case err == nil:
		k.store = move.New(opened)
		return nil
	case errors.As(err, &locked), authority.KindOf(err) == authority.Unavailable:
		return err
	}
	return fail(exitInvalid, unusableStore, "%s", err)
}

// openCustody opens what keeps the signing keys' secrets.
func (k *core) openCustody(h how) (err error) {
	if kind, _ := config.StorePlace(k.running.Settings().Store); kind == config.StorePostgres {
		sealing, err := k.openSealing(h)
		if err == nil {
			k.ring = signing.InRecords(sealing, rand.Reader)
		}
		return err
	}
	k.ring, err = signing.Open(k.files, k.dir.Keyring(), rand.Reader)
	if h.lostKeyring && errors.Is(err, signing.ErrLost) {
		k.ring, err = signing.Create(k.files, k.dir.Keyring(), rand.Reader)
	}
	return err
}

// unusableStore is the code of a store that cannot be opened as it is.
const unusableStore = "store.unusable"

// withoutTokens reports whether something can still be done with a home that
// does not open, if its tokens are left alone.
func withoutTokens(err error) bool {
	f := classify(err)
	return f.code == unusableStore || f.exit == exitFailed || authority.KindOf(err) == authority.Unavailable
}

// sayCaughtUp tells that the token file was older than the audit log: in the log
// of a server, else to whoever gave the command.
func (c *cli) sayCaughtUp(k *core, h how) {
	local := k.local()
	if local == nil {
		return
	}
	found := local.Opened().CaughtUp
	k.logCaughtUp(found)
	if h.serving || !found.Any() {
		return
	}
	c.warn("%s is older than the audit log: %s made since was applied to it again", k.store.Facts().Location, plural(found.Changes, "change"))
	c.warnMissing(len(found.Missing))
	if found.Unproven {
		c.warn("the audit log begins later than that: a token that was deleted in between is back; look through token list")
	}
}

// sayLate tells that a trial was over before this start.
func (c *cli) sayLate(k *core, late bool) {
	switch {
	case late && k.serving:
		k.log.Warn(notConfirmed)
	case late:
		c.warn("%s", notConfirmed)
	}
}

func (k *core) logCaughtUp(found authority.CaughtUp) {
	if found.Any() {
		k.log.Warn("the token file is older than the audit log; changes made since were applied to it again", "file", k.store.Facts().Location,
			"changes", found.Changes, "created_since_and_lost", len(found.Missing), "log_begins_later", found.Unproven)
	}
}

// warnMissing tells that an older file has not all tokens.
func (c *cli) warnMissing(n int) {
	if n > 0 {
		c.warn("%s created since and not in it: lost", wereOrWas(n))
	}
}

func (k *core) wire(book *config.Book) (err error) {
	k.live, err = liveset.New(liveset.Config{
		Verifier: k.ring.Verifier, Now: k.clock.Now, LoginIdle: k.running.LoginIdle, Tally: k.usage.Count, Masked: k.running.Masked,
		Audience:    k.running.Audience,
		LoginIssuer: func() string { return k.running.Settings().Issuer },
		Record: func(id authority.TokenID) (authority.Token, error) {
			return authority.ReadToken(context.Background(), k.store, id)
		},
	})
	if err != nil {
		return err
	}
	if k.refusals, err = refusals.New(refusals.Config{Live: k.live, Masked: k.running.Masked, Now: k.clock.Now}); err != nil {
		return err
	}
	k.observe(book)
	k.joinFleet()
	k.authority, err = authority.New(authority.Config{
		Store: k.rules(), Fleet: k.shared(), Custody: k.ring, Passwords: password.NewHasher(password.Recommended(), 2, rand.Reader), Usage: k.live, Ledger: k.usage,
		Policy: k.running.Policy, Now: k.clock.Now, Rand: rand.Reader, Host: k.host,
	})
	if err != nil {
		return err
	}
	k.control, err = control.New(control.Config{
		Authority: k.authority, Book: book, Running: k.running, Refusals: k.live.Refusals, Surroundings: k.surroundings, Now: k.clock.Now,
		Verdicts:    func() control.Verdicts { return control.Verdicts(k.metrics.Pace()) },
		SwitchStore: k.switchStore, CheckStore: k.checkStore,
		Changed: func() {
			select {
			case k.changed <- struct{}{}:
			default: // it is known already
			}
		},
		CheckTLS: func(certificate, key string) error {
			_, err := tls.LoadX509KeyPair(certificate, key)
			return err
		},
		Program: control.Program{
			Version: version(), PID: os.Getpid(), Home: string(k.dir), StartedAt: time.Now().UTC(),
			URL: k.url,
		},
	})
	if err != nil {
		return err
	}
	k.openDoors()
	k.api, err = httpapi.New(httpapi.Config{
		Authority: k.authority, Live: k.door("api"), Refusals: k.refusals, Control: k.control, Policy: k.running.Policy, Log: k.log,
		Verify: k.doors.verify, Introspect: k.doors.introspect, Revoke: k.doors.revoke, TokenReview: k.doors.review,
		JWKS: func(ctx context.Context) ([]byte, error) {
			keys, err := k.authority.PublishedKeys(ctx)
			return k.ring.JWKSet(keys), err
		},
		Ready: k.ready,
	})
	return err
}

// load makes the core ready to answer: the records of an empty memory, and the live
// set.
func (k *core) load(ctx context.Context, h how) error {
	if err := k.foundOrCheck(ctx, h); err != nil {
		return err
	}
	seen, err := k.authority.LastSeen(ctx)
	if err != nil {
		return err
	}
	if behind := k.clock.Resume(seen); behind > time.Second {
		k.log.Warn("the clock is behind the newest event; set it right", "behind", behind.Round(time.Second).String())
	}
	if err := k.store.Follow(ctx, k.live); err != nil {
		return err
	}
	if !h.serving { // a server has no time for it before it is ready
		k.recall(ctx)
	}
	return nil
}

// foundOrCheck makes the first records of a store that is to be new, and
// otherwise makes sure that the secrets of its keys are here.
func (k *core) foundOrCheck(ctx context.Context, h how) error {
	if k.fleet != nil {
		if err := k.store.Follow(ctx, k.ring); err != nil {
			return err
		}
	}
	fresh := k.dir == "" || h.fresh
	if fresh && k.fleet != nil { // another node may have founded it
		founded, err := k.authority.Founded(ctx)
		if err != nil {
			return err
		}
		fresh = !founded
	}
	switch {
	case fresh:
		return k.authority.Found(ctx, k.self())
	case h.lostKeyring:
		return nil
	}
	if err := k.ring.Problem(); err != nil {
		return fail(exitInvalid, "sealing.unusable", "%s", err).advise("give the fleet's key-encryption key with --sealing-key FILE, or as the property " + config.SealingKey)
	}
	return k.authority.CheckCustody(ctx, k.ring.Has)
}

// url is where people reach this server from this machine.
func (k *core) url() string {
	s := k.running.Settings()
	listen := s.Listen
	if host, port, err := net.SplitHostPort(listen); err == nil && unspecified(host) {
		listen = ":" + port
	}
	return config.IssuerFor(listen, s.Certificate != "")
}

// unspecified reports a host that means every address of the machine.
func unspecified(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.IsUnspecified()
}

// self is the process itself, as the audit log names it.
func (k *core) self() authority.Caller {
	return authority.LocalOperator(k.operator, authority.Origin{})
}

// handler serves the API for one listener; rest serves what is not the API's.
func (k *core) handler(operator string, rest http.Handler) http.Handler {
	mux := http.NewServeMux()
	for _, pattern := range k.api.Patterns() {
		mux.Handle(pattern, k.api)
	}
	if rest != nil {
		mux.Handle("/", rest)
	}
	if operator != "" {
		mux.HandleFunc("POST "+backupPath, k.serveBackup)
	}
	return edge.Wrap(edge.Config{
		Log: k.log, Now: time.Now, NewID: requestID, TrustedProxies: k.proxies, Operator: operator,
		Doors: map[string]edge.Door{"/auth/verify": k.doors.verify, "/oauth2/introspect": k.doors.introspect}, Trace: k.trace(),
	}, mux)
}

// Close lets go of everything; it may be called on a core that is half open.
func (k *core) Close() error {
	var err error
	if k.store != nil {
		err = k.store.Close()
	}
	if k.counts != nil {
		err = errors.Join(err, k.counts.Close())
	}
	if k.held != nil {
		err = errors.Join(err, k.held.Close())
	}
	closeTracing(k.tracing)
	return err
}

func newID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// operator is who runs this process: user@host.
func operator() string {
	name := "uid " + fmt.Sprint(os.Geteuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return name + "@" + host
}

// checkStore says what would be found at a path, or why it is refused.
func checkStore(files durable.Files, store *mapstore.Store, path string) (string, error) {
	folder := filepath.Dir(path)
	if err := files.CheckFolder(folder); errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s does not exist. Make it and the file with: install -d -m 700 %s && install -m 600 /dev/null %s", folder, folder, path)
	} else if err != nil {
		return "", err
	}
	file, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s does not exist. Make it with: install -m 600 /dev/null %s", path, path)
	}
	if err := errors.Join(err, files.CheckFile(path)); err != nil {
		return "", err
	}
	found, err := store.CheckTokens(path)
	if err != nil {
		return "", err
	}
	around, err := os.Stat(folder)
	if err != nil {
		return "", err
	}
	if err := unix.Access(folder, unix.W_OK); err != nil {
		return "", fmt.Errorf("%s: the folder cannot be written: %w", folder, err)
	}
	note := fmt.Sprintf("checked: directory %04o, file %04o, writable", around.Mode().Perm(), file.Mode().Perm())
	if n := len(found.CaughtUp.Missing); n > 0 {
		note += fmt.Sprintf("; %d tokens created since it was left are not in it", n)
	}
	return note, nil
}

// version is what the build knows of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unversioned"
	}
	return info.Main.Version
}
