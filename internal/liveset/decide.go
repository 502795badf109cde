package liveset

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/jws"
)

// Decide is the one decision. The order is: size, form, type, key, an id that is
// here, signature, record, claims, demand. Nothing a token says is used before
// its signature is good, but that an id which is not here is refused at once.
func (s *Set) Decide(raw string, d Demand) (v Verdict) {
	now := s.config.Now()
	q := question{raw: raw, hint: hintOf(raw), now: now, unix: now.Unix()}
	use := s.admitted(&q, &d, &v)
	switch {
	case d.Look:
		v.said = q.said
	case v.Reason != Allowed:
		s.counts[q.hint%counters].of[v.Reason].Add(1)
		if v.Reason == TrialStopped {
			s.trial.note(use.id, now)
		}
		s.refused(use, &q, &d, v.Reason)
		v.said = q.said
	case use.login != nil:
		use.login.used.Store(now.UnixNano())
	default:
		s.count(use, q.unix, source{d.From, d.Via})
	}
	return v
}

// question is what is asked.
type question struct {
	raw  string
	hint uint64 // see hintOf
	now  time.Time
	unix int64 // seconds of now
	key  *key  // that it is signed under, once that is known
	said *Said // by a token that is examined, for whoever keeps refusals
}

// used is what a token or login was, for its use to be noted; the zero used is
// that of a refused token of which nothing is certain.
type used struct {
	seen    *verified // of an allowed token
	place   uint8     // of its key, see key.place
	login   *login    // an allowed one
	ofLogin bool
	id      string // of a refused token whose signature is good
}

// admitted decides within the limit of the door, if it has one.
func (s *Set) admitted(q *question, d *Demand, v *Verdict) used {
	if d.Admit == nil {
		return s.decide(q, d, v)
	}
	if !d.Admit("") {
		return refuse(v, TooMany)
	}
	use := s.decide(q, d, v)
	if id := v.Identity.ID; id != "" && !d.Admit(id) {
		*v = Verdict{Reason: TooMany}
	}
	return use
}

func (s *Set) decide(q *question, d *Demand, v *Verdict) used {
	switch {
	case q.raw == "":
		return refuse(v, NoCredential)
	case d.Fault != "":
		return refuse(v, DemandInvalid)
	case len(q.raw) > jws.MaxSize:
		return refuse(v, TooLarge)
	case s.fresh.over(q.now):
		return refuse(v, StateUnknown)
	}
	m := s.current.Load()
	seen := s.cache.find(q.hint)
	if seen == nil || m == nil || d.Purpose == ForLogin {
		return s.examine(m, q, d, v)
	}
	if seen.digest != digestOf(q.raw) || seen.records != m.records || !seen.unchanged() {
		return s.examine(m, q, d, v)
	}
	q.key = m.numbered[seen.key]
	if reason := q.key.standing(q.now); reason != Allowed {
		return refuseToken(v, reason, seen.identity.ID)
	}
	return s.answer(m, seen, q, d, v)
}

func refuse(v *Verdict, r Reason) used {
	v.Reason = r
	return used{}
}

// refuseToken refuses a token whose signature is good.
func refuseToken(v *Verdict, r Reason, id string) used {
	v.Reason = r
	return used{id: id}
}

// examine makes every check of a token that is not recognised.
func (s *Set) examine(m *moment, q *question, d *Demand, v *Verdict) used {
	u, err := jws.ParseToken(q.raw)
	if d.RequestID != "" {
		q.said = &Said{Size: len(q.raw), Header: u.Header(), form: err}
	}
	if err != nil {
		return refuse(v, reasonOf(err))
	}
	isLogin, reason := kindOf(u.Header(), d.Purpose)
	if reason != Allowed {
		return refuse(v, reason)
	}
	if m == nil {
		return refuse(v, StateUnknown)
	}
	key := m.keys[authority.KeyID(u.Header().Kid)]
	q.key = key
	if reason := key.standing(q.now); reason != Allowed {
		return refuse(v, reason)
	}
	claims, err := u.UnverifiedClaims()
	if q.said != nil {
		q.said.Claims, q.said.claims = claims, err
	}
	if err != nil {
		return refuse(v, reasonOf(err))
	}
	slot, known := uint32(0), isLogin
	if !isLogin {
		slot, known = m.records.find(m.records.name(claims.ID))
	}
	if !known {
		return refuse(v, UnknownToken)
	}
	if _, err := u.Verify(key.verifier); err != nil {
		return refuse(v, reasonOf(err))
	}
	if isLogin {
		return s.login(m, &claims, q, d, v)
	}
	seen, reason := m.read(slot, &claims, q.unix)
	for reason == Undecided {
		if slot, known = m.records.find(m.records.name(claims.ID)); !known {
			return refuse(v, UnknownToken)
		}
		seen, reason = m.read(slot, &claims, q.unix)
	}
	if reason != Allowed {
		return refuseToken(v, reason, claims.ID)
	}
	seen.digest, seen.key, seen.identity.KeyID = digestOf(q.raw), key.number, key.id
	if seen.life&restricted != 0 {
		seen.allowed = m.records.allowed(slot)
	}
	if own := s.config.Audience(); slices.Equal(own, seen.identity.Audience) {
		seen.identity.Audience = own // the same texts are compared at a glance
	}
	if key.number != 0 {
		s.retire(s.cache.put(q.hint, seen))
	} else {
		s.retire(seen) // there are more keys than numbers: nobody comes for its counts
	}
	return s.answer(m, seen, q, d, v)
}

// read holds verified claims against the record: the record wins, and any
// difference is a refusal. Undecided says that it was written meanwhile.
func (m *moment) read(slot uint32, c *jws.Claims, now int64) (*verified, Reason) {
	r := m.records.at(slot)
	before := life(r.life.Load())
	same := r.check.Load() == m.records.check(c)
	v := &verified{records: m.records, record: r, shard: shardOf(slot), life: before, ends: int64(r.end.Load()), begins: begins(c)}
	if v.ends == int64(late) {
		v.ends, _ = c.Expires.Seconds()
	}
	if life(r.life.Load())&writtenMask != before&writtenMask {
		return nil, Undecided
	}
	switch reason := v.standing(m, now); {
	case reason != Allowed:
		return nil, reason
	case !same:
		return nil, Mismatch
	}
	issuer := m.records.issuers.value(before.issuer())
	if c.Issuer == "" || c.Issuer != issuer {
		return nil, WrongIssuer
	}
	v.identity = identityOf(c, issuer)
	return v, Allowed
}

// begins is when a token may be used from: nbf and iat, granted the leeway.
func begins(c *jws.Claims) int64 {
	from, _ := c.NotBefore.Seconds()
	issued, _ := c.IssuedAt.Seconds()
	return max(from, issued) - int64(Leeway/time.Second)
}

// identityOf is who verified claims are of. What doors tell of it lies side by
// side, and nothing else that the token said is kept.
func identityOf(c *jws.Claims, issuer string) Identity {
	text := c.ID + c.ClientID + strings.Join(c.Tags, ",")
	next := func(n int) (part string) {
		part, text = text[:n], text[n:]
		return part
	}
	i := Identity{ID: next(len(c.ID)), ClientID: next(len(c.ClientID)), Role: roleOf(c.Role), TagList: text, Issuer: issuer}
	for _, tag := range c.Tags {
		i.Tags = append(i.Tags, next(len(tag)))
		next(min(len(","), len(text)))
	}
	for _, a := range c.Audience {
		i.Audience = append(i.Audience, strings.Clone(a))
	}
	i.IssuedAt, _ = c.IssuedAt.Time()
	if end, ok := c.Expires.Time(); ok {
		i.ExpiresAt = end
	}
	return i
}

// roleOf is a role of which every copy is the same text, so that two are compared
// at a glance.
func roleOf(said string) authority.Role {
	for _, r := range []authority.Role{authority.RoleUser, authority.RoleAdmin, authority.RoleVerifier} {
		if string(r) == said {
			return r
		}
	}
	return authority.Role(strings.Clone(said))
}

// standing is where the token is in its life.
func (v *verified) standing(m *moment, now int64) Reason {
	switch {
	case v.life&gone != 0:
		return Deleted
	case !v.life.inGeneration(m.generation):
		return Revoked
	case v.ends != 0 && now >= v.ends:
		if v.life&replaced != 0 {
			return Replaced
		}
		return Expired
	}
	return Allowed
}

// answer makes the checks that time and the door can change.
func (s *Set) answer(m *moment, seen *verified, q *question, d *Demand, v *Verdict) used {
	if reason := seen.standing(m, q.unix); reason != Allowed {
		return refuseToken(v, reason, seen.identity.ID)
	}
	if !meet(seen.identity.Audience, s.audience(seen.identity.Audience, d)) {
		return refuseToken(v, WrongAudience, seen.identity.ID)
	}
	if q.unix < seen.begins {
		return refuseToken(v, NotYetValid, seen.identity.ID)
	}
	v.Identity = seen.identity
	v.Reason = demanded(&v.Identity, seen.allowed, d)
	v.Identity.checked = v.Reason == Allowed
	if v.Reason == Allowed && !d.Look && q.key.onTrial(q.now) {
		*v = Verdict{Reason: TrialStopped}
		return used{id: seen.identity.ID}
	}
	return used{seen: seen, place: q.key.place, id: seen.identity.ID}
}

func meet(a, b []string) bool {
	for _, s := range a {
		if s != "" && slices.Contains(b, s) {
			return true
		}
	}
	return false
}

func kindOf(h jws.Header, p Purpose) (isLogin bool, _ Reason) {
	switch {
	case h.IsType(authority.TypeToken) && p != ForLogin:
		return false, Allowed
	case h.IsType(authority.TypeLogin) && p != ForToken:
		return true, Allowed
	}
	return false, WrongType
}

// standing is whether the key verifies; nil is a key that nobody knows.
func (k *key) standing(now time.Time) Reason {
	switch {
	case k == nil:
		return UnknownKey
	case k.state == authority.KeyRetired, k.state == authority.KeyPrevious && !k.until.IsZero() && !now.Before(k.until):
		return RetiredKey
	case k.verifier == nil || k.state == authority.KeyNext:
		return UnknownKey // a next key has signed nothing yet
	}
	return Allowed
}

// audience is which recipients will do for a door.
func (s *Set) audience(own []string, d *Demand) []string {
	switch {
	case d.AnyAudience:
		return own
	case d.Audience != nil:
		return d.Audience
	}
	return s.config.Audience()
}

func (s *Set) login(m *moment, c *jws.Claims, q *question, d *Demand, v *Verdict) used {
	l := m.logins[authority.LoginID(c.ID)]
	if reason := l.standing(q.now, m.generation, s.config.LoginIdle()); reason != Allowed {
		return refuseLogin(v, reason)
	}
	if !l.matches(c) {
		return refuseLogin(v, Mismatch)
	}
	issuer := s.config.LoginIssuer()
	if err := c.Check(jws.Expect{Issuer: issuer, Audience: []string{issuer}, Now: q.now, Leeway: Leeway}); err != nil {
		return refuseLogin(v, reasonOf(err))
	}
	v.Identity = Identity{
		ID: c.ID, Login: true, ClientID: l.Admin, Role: authority.RoleAdmin, Issuer: c.Issuer, Audience: c.Audience,
		IssuedAt: l.CreatedAt, ExpiresAt: l.ExpiresAt, AuthenticatedAt: l.AuthenticatedAt, KeyID: q.key.id,
	}
	v.Reason = demanded(&v.Identity, nil, d)
	v.Identity.checked = v.Reason == Allowed
	return used{login: l, ofLogin: true}
}

func refuseLogin(v *Verdict, r Reason) used {
	v.Reason = r
	return used{ofLogin: true}
}

// standing is where the login is in its life.
func (l *login) standing(now time.Time, generation uint64, idle time.Duration) Reason {
	switch {
	case l == nil:
		return SignedOut
	case l.Generation < generation:
		return Revoked
	case !now.Before(l.ExpiresAt):
		return Expired
	case now.Sub(time.Unix(0, l.used.Load())) > idle:
		return Idle
	}
	return Allowed
}

func (l *login) matches(c *jws.Claims) bool {
	return c.Subject == l.Admin && c.ClientID == "" && c.Role == string(authority.RoleAdmin) && len(c.Tags) == 0 &&
		c.IssuedAt == jws.At(l.CreatedAt) && c.Expires == jws.At(l.ExpiresAt)
}

// demanded checks what the door asks beyond a valid token.
func demanded(i *Identity, allowed []netip.Prefix, d *Demand) Reason {
	switch {
	case !comesFrom(allowed, d.From):
		return AddressNotAllowed
	case !hasRole(i, d):
		return RoleInsufficient
	case !hasClientID(i, d):
		return ClientIDNotAllowed
	case !hasTags(i, d):
		return TagMissing
	}
	return Allowed
}

// comesFrom compares IPv4 addresses as such, also when they arrive mapped into
// IPv6, and takes no notice of the interface they arrived by. No address is in
// no range.
func comesFrom(allowed []netip.Prefix, from netip.Addr) bool {
	if len(allowed) == 0 {
		return true
	}
	from = from.Unmap().WithZone("")
	return slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(from) })
}

// hasRole: an Admin may do what a User may; a Verifier may introspect and
// nothing else, so it passes no door.
func hasRole(i *Identity, d *Demand) bool {
	needed := d.Role
	if needed == "" && d.Purpose == ForToken {
		needed = authority.RoleUser
	}
	return needed == "" || i.Role == needed || i.Role == authority.RoleAdmin
}

func hasClientID(i *Identity, d *Demand) bool { return d.ClientID == "" || i.ClientID == d.ClientID }

// hasTags wants every tag of anybody but an Admin.
func hasTags(i *Identity, d *Demand) bool {
	return i.Role == authority.RoleAdmin || !slices.ContainsFunc(d.Tags, func(tag string) bool { return !slices.Contains(i.Tags, tag) })
}

// reasonOf translates what the reader of tokens found.
func reasonOf(err error) Reason {
	var e *jws.Error
	if !errors.As(err, &e) {
		return Malformed
	}
	switch e.Fault {
	case jws.TooLarge:
		return TooLarge
	case jws.Malformed, jws.HeaderRefused, jws.KidRefused:
		return Malformed
	case jws.AlgorithmRefused, jws.AlgorithmMismatch:
		return AlgorithmRefused
	case jws.TypeRefused:
		return WrongType
	case jws.BadSignature:
		return BadSignature
	case jws.ClaimsMalformed:
		return BadClaims
	case jws.Expired:
		return Expired
	case jws.NotYetValid, jws.IssuedInFuture:
		return NotYetValid
	case jws.WrongIssuer:
		return WrongIssuer
	case jws.WrongAudience:
		return WrongAudience
	}
	return Malformed
}
