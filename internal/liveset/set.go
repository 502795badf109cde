package liveset

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
)

// Leeway is how far clocks of nodes may differ (RFC 7519 section 4.1.4). It is
// granted to iat and nbf; a token's end is exact, because the record has it.
const Leeway = 30 * time.Second

// Config is what a Set is made of.
type Config struct {
	// Verifier answers what verifies signatures of a key, or nil.
	Verifier func(authority.KeyID) *jws.Verifier
	// Audience is the server's own audience; a token for none of them is refused
	// unless the door says otherwise.
	Audience func() []string
	// LoginIssuer is the issuer and audience of login tokens.
	LoginIssuer func() string
	// LoginIdle ends a login that was not used for so long.
	LoginIdle func() time.Duration
	Now       func() time.Time
}

// Set is the live set. All methods may be called concurrently; a zero Set
// answers StateUnknown until it is loaded.
type Set struct {
	config Config
	counts [len(reasons)]atomic.Uint64

	mu         sync.RWMutex
	loaded     bool
	generation uint64
	tokens     map[authority.TokenID]*token
	logins     map[authority.LoginID]*login
	keys       map[authority.KeyID]key
}

type token struct {
	authority.Token
	use *use
}

type login struct {
	authority.Login
	use *use
}

type key struct {
	state    authority.KeyState
	until    time.Time // end of the overlap; zero: none
	verifier *jws.Verifier
}

// use is the latest accepted use; it is written by verdicts and never blocks
// one.
type use struct {
	at  atomic.Int64 // Unix nanoseconds; 0: never
	how atomic.Pointer[how]
}

// how is from where a token came and under which key: after a rotation that may
// be another than the one it was last signed under.
type how struct {
	from netip.Addr
	key  authority.KeyID
}

func (u *use) mark(now time.Time, from netip.Addr, kid authority.KeyID) {
	u.at.Store(now.UnixNano())
	if old := u.how.Load(); old == nil || old.from != from || old.key != kid {
		u.how.Store(&how{from, kid})
	}
}

// New makes an empty set that answers StateUnknown until Load.
func New(c Config) (*Set, error) {
	if c.Verifier == nil || c.Audience == nil || c.LoginIssuer == nil || c.LoginIdle == nil || c.Now == nil {
		return nil, errors.New("liveset: a member of Config is missing")
	}
	return &Set{config: c}, nil
}

// Load replaces every record the set holds; see authority.Follower. What is known
// of the use of those that stay is kept.
func (s *Set) Load(snapshot authority.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tokens, logins := s.tokens, s.logins
	s.tokens = make(map[authority.TokenID]*token, len(snapshot.Tokens))
	s.logins = make(map[authority.LoginID]*login)
	s.keys = make(map[authority.KeyID]key)
	s.apply(snapshot)
	for id, t := range s.tokens {
		if old := tokens[id]; old != nil {
			t.use = old.use
		}
	}
	for id, l := range s.logins {
		if old := logins[id]; old != nil {
			l.use = old.use
		}
	}
	s.loaded = true
}

// Apply applies one committed change; see authority.Follower.
func (s *Set) Apply(change authority.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apply(change)
}

func (s *Set) apply(change authority.Change) {
	if change.System != nil {
		s.generation = change.System.Generation
	}
	for _, c := range change.Keys {
		if c.Value == nil || c.Value.State == authority.KeyRetired {
			s.keys[c.Key] = key{state: authority.KeyRetired}
			continue
		}
		s.keys[c.Key] = key{c.Value.State, c.Value.Until, s.config.Verifier(c.Key)}
	}
	for _, c := range change.Tokens {
		if c.Value == nil {
			delete(s.tokens, c.Key)
			continue
		}
		u := new(use)
		if old := s.tokens[c.Key]; old != nil {
			u = old.use
		}
		s.tokens[c.Key] = &token{*c.Value, u}
	}
	for _, c := range change.Logins {
		if c.Value == nil {
			delete(s.logins, c.Key)
			continue
		}
		u := new(use)
		u.at.Store(s.config.Now().UnixNano()) // idleness counts from here, also after a restart
		s.logins[c.Key] = &login{*c.Value, u}
	}
}

// Ready reports whether the set is loaded.
func (s *Set) Ready() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.loaded
}

// LastUse answers the latest accepted use of a token since this process began.
func (s *Set) LastUse(id authority.TokenID) authority.Use {
	s.mu.RLock()
	t := s.tokens[id]
	s.mu.RUnlock()
	if t == nil {
		return authority.Use{}
	}
	at := t.use.at.Load()
	if at == 0 {
		return authority.Use{}
	}
	u := authority.Use{At: time.Unix(0, at).UTC()}
	if how := t.use.how.Load(); how != nil {
		u.Key = how.key
		if how.from.IsValid() {
			u.From = how.from.String()
		}
	}
	return u
}

// Refusals counts the verdicts that were not allow, by reason, since start.
func (s *Set) Refusals() map[string]uint64 {
	counts := make(map[string]uint64)
	for i, r := range reasons {
		if n := s.counts[i].Load(); n > 0 && r != Allowed {
			counts[string(r)] = n
		}
	}
	return counts
}
