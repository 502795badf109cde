package mapstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/store/stored"
)

// The files of a home.
const (
	StateFile = "state.json"
	AuditFile = "audit.ndjson"
)

// Create makes the files of a new home: an empty state.json and an empty
// audit.ndjson. It refuses a home that has one of them. The caller holds the
// home's lock.
func Create(cfg Config) error {
	// The state comes last: a home with a state has a log.
	if err := cfg.Files.CreateNew(filepath.Join(cfg.Home, AuditFile)); err != nil {
		return fmt.Errorf("create the audit log: %w", err)
	}
	return createState(cfg)
}

// CreateBeside is Create for a home that may have kept its audit log, which then
// goes on: a restore.
func CreateBeside(cfg Config) error {
	if err := cfg.Files.CreateNew(filepath.Join(cfg.Home, AuditFile)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create the audit log: %w", err)
	}
	return createState(cfg)
}

func createState(cfg Config) error {
	f := &file{path: filepath.Join(cfg.Home, StateFile), format: stateFormat}
	var w writer
	text, err := w.compose(f, &state{}, place{}, nil)
	if err == nil {
		err = cfg.Files.CreateNew(f.path, text)
	}
	if err != nil {
		return fmt.Errorf("create the state: %w", err)
	}
	return nil
}

// CreateTokens makes an empty token file, which Open takes for a new store.
func CreateTokens(files durable.Files, path string) error {
	if err := files.CreateNew(path); err != nil {
		return fmt.Errorf("create the token file: %w", err)
	}
	return nil
}

// blank reports a document that is a new store, should the home not know it.
func blank(text []byte) bool {
	trimmed := bytes.TrimSpace(text)
	return len(trimmed) == 0 || string(trimmed) == "{}"
}

// Open opens what Create made. It never creates a file but the lock of the
// token file: what is missing is lost, and the error says what to do. With a
// home, the caller holds the home's lock until Close has returned.
func Open(cfg Config) (*Store, error) {
	if cfg.Home == "" && cfg.Tokens != "" {
		return nil, errNoHome
	}
	s := &Store{files: cfg.Files, now: cfg.Now, home: cfg.Home}
	if s.now == nil {
		return nil, errors.New("mapstore: Config.Now is missing")
	}
	if err := s.load(cfg); err != nil {
		return nil, errors.Join(err, s.release())
	}
	s.codecs = codecsOf(s.state, s.tokens)
	s.show(s.newest)
	s.fact = factsOf(cfg.Tokens)
	if s.ledger.problem != nil {
		s.fact.Problem = s.ledger.problem.Error()
	}
	return s, nil
}

func factsOf(tokens string) authority.StoreFacts {
	if tokens == "" {
		return authority.StoreFacts{Kind: "memory"}
	}
	return authority.StoreFacts{Kind: "json", Location: tokens, Persistent: true}
}

func (s *Store) load(cfg Config) error {
	if cfg.Home == "" {
		return nil
	}
	last, err := s.loadState()
	if err != nil {
		return err
	}
	if err := s.loadLog(last.head); err != nil {
		return err
	}
	if cfg.Tokens == "" {
		_, err := s.settleLog(last, last.pending, nil)
		if err == nil {
			_ = s.ledger.move() // what stays is in a file, and in ledger.problem
		}
		return err
	}
	t, err := s.takeTokens(cfg.Tokens)
	if err != nil {
		return err
	}
	s.held, s.tokens = t.held, t.file
	own, moved := last.pending, t.content.pending
	if !t.unknown { // else it tells nothing of this home's log
		own, moved = slices.Concat(own, moved), nil
		if head := t.content.header.Head; head.Seq > last.head.Seq {
			last = written{t.file.path, head, t.content.pending}
		}
	}
	renewed, err := s.settleLog(last, own, moved)
	if err != nil {
		return err
	}
	if err := s.takeOver(t, renewed, cfg.Arriving); err != nil {
		return err
	}
	_ = s.ledger.move()
	if t.unknown {
		return s.remember(t.file.path)
	}
	return nil
}

// written is what a file tells of the end of the audit log.
type written struct {
	path    string
	head    place
	pending []authority.Event
}

// settleLog brings together the audit log, the pending events of this home's
// own files and of one that was moved here, and what the file that was written
// last knows of the log. It reports whether somebody has begun an empty log.
func (s *Store) settleLog(last written, own, moved []authority.Event) (renewed bool, err error) {
	if s.ledger.last == (place{}) && last.head.Seq > 0 {
		// Nobody who empties the log leaves a torn line in it; only the very first may
		// have been torn.
		if torn := s.ledger.log.Torn(); torn > 0 && (len(last.pending) == 0 || last.pending[0].Seq != 1) {
			return false, s.badLog(fmt.Errorf("it has no whole line, but %s was written after event %d", last.path, last.head.Seq))
		}
		if err := s.ledger.resume(last.head, last.pending); err != nil {
			return false, err
		}
		own, renewed = nil, true // older ones were in the log that is gone
	}
	entries, err := s.ledger.adopt(slices.Concat(own, moved))
	if err != nil {
		return false, s.badLog(err)
	}
	s.ledger.add(entries)
	if s.ledger.last.Seq < last.head.Seq {
		return false, s.badLog(fmt.Errorf("it ends at event %d, but %s was written after event %d", s.ledger.last.Seq, last.path, last.head.Seq))
	}
	return renewed, nil
}

func (s *Store) logPath() string { return filepath.Join(s.home, AuditFile) }

// badLog says what can be done about an audit log that cannot be gone on with.
func (s *Store) badLog(err error) error {
	return fmt.Errorf("%s cannot be used as the audit log: %w; it was left as it is: restore it from a backup, "+
		"or go on with an empty one: mv %[1]s %[1]s.old && touch %[1]s && chmod 600 %[1]s", s.logPath(), err)
}

// loadState reads state.json.
func (s *Store) loadState() (written, error) {
	path := filepath.Join(s.home, StateFile)
	if err := s.files.RemoveStaleTemps(path); err != nil {
		return written{}, err
	}
	text, err := s.files.Read(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return written{}, fmt.Errorf("%s is missing: it is lost and not new, so nothing was started; restore it from a backup: %w", path, err)
	}
	if err != nil {
		return written{}, err
	}
	c, err := parse(stateFormat, text)
	if err != nil {
		return written{}, refusal(path, "state file", err)
	}
	s.newest = c.state
	s.state = &file{path: path, format: stateFormat, revision: c.header.Revision, opened: c.header.Opened, mark: mark(text)}
	return written{path, c.header.Head, c.pending}, nil
}

// refusal says what is wrong with a file and what to do about it. The file is
// left as it is.
func refusal(path, what string, err error) error {
	remedy := "restore it from a backup"
	switch {
	case errors.Is(err, errNewer):
		remedy = "start the version that wrote it, or " + remedy
	case errors.Is(err, errForeign) && what == "token file":
		remedy = "name another path, or " + remedy
	}
	return fmt.Errorf("%s cannot be used as a %s: %w; it was left as it is: %s", path, what, err, remedy)
}

// tailLength is how many events at the end of the log are checked when it is
// opened; VerifyAudit checks all.
const tailLength = 256

// loadLog opens audit.ndjson, finds its ends and checks the chain of its tail.
func (s *Store) loadLog(head place) error {
	path := s.logPath()
	log, err := s.files.OpenLog(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing: restore it from a backup, or go on with an empty one: touch %[1]s && chmod 600 %[1]s: %w", path, err)
	}
	if err != nil {
		return err
	}
	s.ledger.log = log
	line, _, err := lineAfter(log, 0, log.Size())
	if err != nil {
		return s.badLog(err)
	}
	if line == nil {
		return nil
	}
	first, err := stored.Events().Decode(line)
	if err != nil {
		return s.badLog(fmt.Errorf("its first line is no event: %w", err))
	}
	s.ledger.first = first.Seq
	tail, err := s.ledger.tail()
	if err != nil {
		return s.badLog(err)
	}
	s.ledger.last = tail[0]
	for _, at := range tail {
		if at.Seq == head.Seq && at.Hash != head.Hash {
			return s.badLog(fmt.Errorf("its event %d is not the one that %s was written after", at.Seq, s.state.path))
		}
	}
	return nil
}

// taken is a token file that was opened and locked.
type taken struct {
	held    *durable.Held
	file    *file
	content content
	opened  Opened
	unknown bool // this home never opened it before
	blank   bool // it holds nothing and is to become a store
	own     bool // this home's audit log leads on from it
	caught  authority.CaughtUp
}

// takeTokens locks and reads a token file. An empty one that this home never
// opened becomes a store here; nothing else is changed.
func (s *Store) takeTokens(path string) (_ *taken, err error) {
	if _, err := s.findTokens(path); err != nil {
		return nil, err // before a lock is made beside it
	}
	held, err := s.files.Lock(path + ".lock")
	if err != nil {
		if locked, ok := errors.AsType[*durable.LockedError](err); ok {
			return nil, fmt.Errorf("the token file %s is in use by another server; stop that one or name another file: %w", path, locked)
		}
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, held.Close())
		}
	}()
	if err := s.files.RemoveStaleTemps(path); err != nil {
		return nil, err
	}
	t, err := s.readTokens(path)
	if err != nil {
		return nil, err
	}
	t.held = held
	if t.blank {
		return t, s.begin(t)
	}
	return t, nil
}

// readTokens reads a token file, or tells why it cannot be one. It changes
// nothing.
func (s *Store) readTokens(path string) (*taken, error) {
	t, err := s.findTokens(path)
	if err != nil {
		return nil, err
	}
	text, err := s.files.Read(path, maxFile)
	if err != nil {
		return nil, t.missing(path, err)
	}
	t.file.mark = mark(text)
	if t.blank = blank(text); t.blank {
		if !t.unknown {
			return nil, fmt.Errorf("the token file %s is empty, but it held a store before: its tokens are lost and nothing was started; "+
				"restore it from a backup, or name a new file", path)
		}
		return t, nil
	}
	if t.content, err = parse(tokensFormat, text); err != nil {
		return nil, refusal(path, "token file", err)
	}
	t.file.revision = t.content.header.Revision
	t.opened.Tokens = t.content.state.tokens.size
	return t, nil
}

// findTokens finds a token file that nobody else can reach, and whether this
// home knows it.
func (s *Store) findTokens(path string) (*taken, error) {
	real, err := realPath(path)
	if err != nil {
		return nil, err
	}
	t := &taken{unknown: !slices.Contains(s.state.opened, real), file: &file{path: path, format: tokensFormat}}
	if err := s.files.CheckFile(path); err != nil {
		return nil, t.missing(path, err)
	}
	return t, nil
}

// begin makes an empty file a store.
func (s *Store) begin(t *taken) error {
	text, err := s.writer.compose(t.file, &state{}, s.ledger.last, nil)
	if err == nil {
		err = t.file.save(s.files, text)
	}
	if err != nil {
		return fmt.Errorf("begin a token file: %w", err)
	}
	t.opened.New, t.content.header.Head = true, s.ledger.last
	return nil
}

func (t *taken) missing(path string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if t.unknown {
		return fmt.Errorf("the token file %s does not exist; create it: touch %[1]s && chmod 600 %[1]s: %w", path, err)
	}
	return fmt.Errorf("the token file %s is missing, but it held a store before: its tokens are lost and nothing was started; "+
		"restore it from a backup, or name a new file: %w", path, err)
}

// remember records in state.json that this home uses a token file.
func (s *Store) remember(path string) error {
	real, err := realPath(path)
	if err != nil {
		return err
	}
	before := s.state.opened
	s.state.opened = append(slices.Clone(before), real)
	text, err := s.writer.compose(s.state, &s.newest, s.ledger.last, s.ledger.entries)
	if err == nil {
		err = s.state.save(s.files, text)
	}
	if err != nil {
		s.state.opened = before
		return fmt.Errorf("record the token file in the state: %w", err)
	}
	return nil
}

// realPath is one name for one file, whatever links lead to its folder.
func realPath(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("the path of a token file is absolute; %q is not", path)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the folder of the token file does not exist; create it: mkdir -p -m 700 %s: %w", filepath.Dir(path), err)
	}
	if err != nil {
		return "", fmt.Errorf("the folder of the token file: %w", err)
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}
