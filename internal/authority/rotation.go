package authority

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// KeySetAge is how long anyone may keep the published keys (Cache-Control:
// max-age). A key that is younger when it begins to sign may be unknown to
// those who verify by it.
const KeySetAge = 5 * time.Minute

const (
	minOverlap = time.Minute
	year       = 365 * 24 * time.Hour
)

// MaxOverlap is the longest overlap of a rotation: as long as a token may live,
// a year when policy does not limit that. After it no token is left to wait for.
func (p Policy) MaxOverlap() time.Duration {
	if p.MaxLifetime > 0 {
		return max(p.MaxLifetime, minOverlap)
	}
	return year
}

// DefaultOverlap is the overlap of a rotation for which none was given.
func (p Policy) DefaultOverlap() time.Duration { return min(p.Overlap, p.MaxOverlap()) }

// RotateRequest asks for a rotation.
type RotateRequest struct {
	Overlap time.Duration // how long the key that signs now is accepted afterwards
	Reason  string
}

// Rotation is what a rotation made of the keys.
type Rotation struct {
	Current  Key // signs from now on
	Previous Key // accepted until its Until
	Next     Key // published from now on
	Warning  string
}

// RotateKey lets the next key sign and the current one be accepted for an
// overlap. When it returns nothing is signed by the old key any more. Of many
// calls at once one succeeds: while a previous key is accepted, another rotation
// is a Conflict. Without an overlap it would be a reset.
func (a *Authority) RotateKey(ctx context.Context, c Caller, r RotateRequest) (Rotation, error) {
	if err := c.mustAdmin(); err != nil {
		return Rotation{}, err
	}
	policy := a.Policy()
	if err := c.mustBeRecent(a.Now(), policy.StepUp); err != nil {
		return Rotation{}, err
	}
	reason, fault := parseText("reason", r.Reason, maxDescription)
	if fault != nil {
		return Rotation{}, invalid(*fault)
	}
	if fault := policy.checkOverlap(r.Overlap); fault != nil {
		return Rotation{}, invalid(*fault)
	}
	a.keys.Lock()
	defer a.keys.Unlock()
	// Whoever comes second learns it before a secret is made for nothing.
	err := a.Store.View(ctx, func(tx Tx) error { _, err := rotatable(tx, a.second()); return err })
	if err != nil {
		return Rotation{}, err
	}
	next, err := a.generate(policy.Algorithm)
	if err != nil {
		return Rotation{}, err
	}
	var done Rotation
	err = a.Store.Update(ctx, func(tx Tx) error {
		next.State = KeyNext
		done, err = a.rotate(tx, c, next, RotateRequest{r.Overlap, reason})
		return err
	})
	if err != nil {
		_ = a.keepLiveSecrets(ctx) // what it cannot forget now is forgotten by Maintain
		return Rotation{}, err
	}
	return done, nil
}

func (p Policy) checkOverlap(d time.Duration) *FieldError {
	switch {
	case d == 0:
		return &FieldError{"overlap", "overlap.none", "A rotation has an overlap. To end every token at once, because the secret leaked, reset it: support reset-jwt-key."}
	case d < minOverlap:
		return &FieldError{"overlap", "overlap.range", "An overlap is a minute or longer."}
	case d > p.MaxOverlap():
		return &FieldError{"overlap", "overlap.range", "No token lives longer than " + daysAtMost(p.MaxOverlap()) + ", so an overlap is no longer, either."}
	}
	return nil
}

func daysAtMost(d time.Duration) string {
	if days := d / (24 * time.Hour); days > 1 {
		return fmt.Sprintf("%d days", days)
	}
	return d.String()
}

// pair is what a rotation moves.
type pair struct{ current, next Key }

// rotatable answers what a rotation would move, or that it has to wait.
func rotatable(tx Tx, now time.Time) (pair, error) {
	keys, err := allKeys(tx)
	if err != nil {
		return pair{}, err
	}
	var p pair
	for _, k := range keys {
		switch k.State {
		case KeyCurrent:
			p.current = k
		case KeyNext:
			p.next = k
		case KeyPrevious:
			if k.Accepted(now) {
				return pair{}, fail(Conflict, "key.rotating", "Finish this rotation first: "+k.Name+" is accepted until "+timeOrNever(k.Until)+".")
			}
		case KeyRetired:
		}
	}
	if p.current.ID == "" || p.next.ID == "" {
		return pair{}, &Error{Kind: Internal, Err: errors.New("the store has no current key, or no next one")}
	}
	return p, nil
}

func (a *Authority) rotate(tx Tx, c Caller, next Key, r RotateRequest) (Rotation, error) {
	now := a.second()
	p, err := rotatable(tx, now)
	if err != nil {
		return Rotation{}, err
	}
	keys, err := allKeys(tx)
	if err != nil {
		return Rotation{}, err
	}
	done := Rotation{Current: p.next, Previous: p.current, Next: next}
	if age := now.Sub(p.next.CreatedAt); age < KeySetAge {
		done.Warning = fmt.Sprintf("%s was published %s ago; verifiers may keep the key set for %s and not know it yet.", p.next.Name, age, KeySetAge)
	}
	done.Current.State, done.Current.CurrentSince = KeyCurrent, now
	done.Previous.State, done.Previous.Until = KeyPrevious, now.Add(r.Overlap).Truncate(time.Second)
	done.Previous.Hold, done.Previous.Reason = a.Policy().HoldIfUsed, r.Reason
	done.Next.Name, done.Next.CreatedAt = keyName(keys, now), now
	if err := errors.Join(tx.Keys().Put(done.Previous), tx.Keys().Put(done.Current), tx.Keys().Insert(done.Next)); err != nil {
		return Rotation{}, err
	}
	e := keyEvent(c, now, "key.rotated", &done.Current)
	e.Detail = map[string]string{
		"previous": done.Previous.Name, "next": done.Next.Name, "until": timeOrNever(done.Previous.Until), "overlap": r.Overlap.String(), "reason": r.Reason,
	}
	if done.Previous.Hold {
		e.Detail["hold"] = "if used"
	}
	return done, tx.Audit().Append(e)
}

// ExtendKey lets the overlap of a previous key end later.
func (a *Authority) ExtendKey(ctx context.Context, c Caller, name string, until time.Time) (Key, error) {
	limit, until := a.Policy().MaxOverlap(), until.UTC().Truncate(time.Second)
	return a.changePrevious(ctx, c, name, func(k *Key) (string, map[string]string, error) {
		switch {
		case until.After(a.second().Add(limit)):
			return "", nil, invalid(FieldError{"until", "until.range", "The overlap ends within " + daysAtMost(limit) + "."})
		case !until.After(k.Until):
			return "", nil, invalid(FieldError{"until", "until.range", "The overlap ends at " + timeOrNever(k.Until) + "; give a later time. To end it now, retire the key."})
		}
		detail := map[string]string{"before": timeOrNever(k.Until), "until": timeOrNever(until)}
		k.Until = until
		return "key.extended", detail, nil
	})
}

// RetireKey ends the overlap of a previous key at once and for good. Retiring a
// retired key changes nothing.
func (a *Authority) RetireKey(ctx context.Context, c Caller, name string) (Key, error) {
	if err := c.mustAdmin(); err != nil {
		return Key{}, err
	}
	if err := c.mustBeRecent(a.Now(), a.Policy().StepUp); err != nil {
		return Key{}, err
	}
	return a.retire(ctx, c, name, func(*Key) string { return "key.retired" })
}

// retire retires a previous key; action names the event, or "" when nothing is
// to be done.
func (a *Authority) retire(ctx context.Context, c Caller, name string, action func(*Key) string) (Key, error) {
	a.keys.Lock()
	defer a.keys.Unlock()
	var k Key
	err := a.Store.Update(ctx, func(tx Tx) error {
		var err error
		if k, err = namedKey(tx, name); err != nil || k.State == KeyRetired {
			return err
		}
		if err := k.mustBePrevious(); err != nil {
			return err
		}
		now, action := a.second(), action(&k)
		if action == "" {
			return nil
		}
		e := keyEvent(c, now, action, &k)
		e.Detail = map[string]string{"until": timeOrNever(k.Until)}
		k.retire(now)
		return errors.Join(tx.Keys().Put(k), tx.Audit().Append(e))
	})
	if err != nil {
		return Key{}, err
	}
	return k, a.keepLiveSecrets(ctx)
}

// retire makes a tombstone of the key.
func (k *Key) retire(now time.Time) {
	k.State, k.RetiredAt, k.Until, k.TrialUntil, k.Hold, k.Sealed = KeyRetired, now, time.Time{}, time.Time{}, false, nil
}

// TrialStop refuses tokens under a previous key for a while, after which they
// are accepted again by themselves; logins go on. Repeating it begins the time
// again.
func (a *Authority) TrialStop(ctx context.Context, c Caller, name string, d time.Duration) (Key, error) {
	return a.changePrevious(ctx, c, name, func(k *Key) (string, map[string]string, error) {
		if d < time.Minute || d > MaxTrial {
			return "", nil, invalid(FieldError{"duration", "duration.range", "A trial stop lasts a minute to 24 hours."})
		}
		k.TrialUntil = a.second().Add(d)
		return "key.trial_started", map[string]string{"until": timeOrNever(k.TrialUntil)}, nil
	})
}

// EndTrial accepts tokens under a key on trial again at once. It changes nothing
// when there is no trial.
func (a *Authority) EndTrial(ctx context.Context, c Caller, name string) (Key, error) {
	return a.changePrevious(ctx, c, name, func(k *Key) (string, map[string]string, error) {
		if k.TrialUntil.IsZero() {
			return "", nil, nil
		}
		k.TrialUntil = time.Time{}
		return "key.trial_ended", nil, nil
	})
}

// changePrevious runs one change of a key in its overlap and records its event;
// an empty action means that nothing had to be done.
func (a *Authority) changePrevious(ctx context.Context, c Caller, name string, change func(*Key) (string, map[string]string, error)) (Key, error) {
	if err := c.mustAdmin(); err != nil {
		return Key{}, err
	}
	var k Key
	err := a.Store.Update(ctx, func(tx Tx) error {
		var err error
		if k, err = namedKey(tx, name); err != nil {
			return err
		}
		if err := k.mustBePrevious(); err != nil {
			return err
		}
		now := a.second()
		if k.Over(now) {
			return fail(Conflict, "key.retired", "The overlap of "+k.Name+" ended at "+timeOrNever(k.Until)+".")
		}
		action, detail, err := change(&k)
		if err != nil || action == "" {
			return err
		}
		e := keyEvent(c, now, action, &k)
		e.Detail = detail
		return errors.Join(tx.Keys().Put(k), tx.Audit().Append(e))
	})
	if err != nil {
		return Key{}, err
	}
	return k, nil
}

func (k *Key) mustBePrevious() error {
	switch k.State {
	case KeyPrevious:
		return nil
	case KeyCurrent:
		return fail(Conflict, "key.not_previous", k.Name+" signs the tokens. Rotate first; then it is the previous one.")
	case KeyNext:
		return fail(Conflict, "key.not_previous", k.Name+" has signed nothing yet: it is the next key.")
	case KeyRetired:
	}
	return fail(Conflict, "key.retired", k.Name+" is retired, for good.")
}

// namedKey finds a key by its kid or its name.
func namedKey(tx Tx, name string) (Key, error) {
	for k, err := range tx.Keys().All() {
		if err != nil {
			return Key{}, err
		}
		if string(k.ID) == name || k.Name == name {
			return k, nil
		}
	}
	return Key{}, fail(NotFound, "key.not_found", "There is no key with that kid or name.")
}

func keyEvent(c Caller, at time.Time, action string, k *Key) Event {
	e := c.event(at, action)
	e.Target, e.Label = string(k.ID), k.Name
	return e
}

// Itself is the caller of what the program does by itself.
func Itself() Caller {
	return Caller{actor: Actor{Kind: "system", Name: "mintmark"}, role: RoleAdmin, local: true}
}

// EndOverlaps does what the clock asks for: it retires keys whose overlap is
// over, holds those that are not to end while they are used, ends trials, rotates
// when policy says so, and ends replaced tokens whose successor was seen. It is
// meant for once a minute; uptime is how long the process has run by a clock that
// does not jump.
//
// A verdict needs none of it: a key is refused at its end whether or not this
// has run. It does nothing that cannot be undone until the clock has gone evenly
// for an hour.
func (a *Authority) EndOverlaps(ctx context.Context, uptime time.Duration) error {
	now := a.second()
	steady := a.pulse.steady(now, uptime)
	var keys []Key
	err := a.Store.View(ctx, func(tx Tx) error {
		var err error
		keys, err = allKeys(tx)
		return err
	})
	if err != nil {
		return err
	}
	for _, k := range keys {
		err = errors.Join(err, a.endTrial(ctx, k, now, uptime))
		if steady && k.State == KeyPrevious && !k.Until.IsZero() && !now.Before(k.Until) {
			err = errors.Join(err, a.endOverlap(ctx, k, now))
		}
	}
	if steady && err == nil {
		err = a.rotateWhenDue(ctx, keys, now)
	}
	return errors.Join(err, a.endHandovers(ctx, now))
}

// endOverlap retires a key whose overlap is over, or holds it.
func (a *Authority) endOverlap(ctx context.Context, k Key, now time.Time) error {
	why := ""
	if k.Hold {
		var err error
		if why, err = a.stillUsed(ctx, k.ID, now); err != nil {
			return err
		}
	}
	if why == "" {
		_, err := a.retire(ctx, Itself(), string(k.ID), func(k *Key) string {
			if now.Before(k.Until) {
				return "" // extended meanwhile
			}
			return "key.overlap_ended"
		})
		return ended(err)
	}
	const day = 24 * time.Hour
	_, err := a.changePrevious(ctx, Itself(), string(k.ID), func(k *Key) (string, map[string]string, error) {
		if now.Before(k.Until) {
			return "", nil, nil // extended meanwhile
		}
		k.Until = k.Until.Add((now.Sub(k.Until)/day + 1) * day)
		return "key.overlap_held", map[string]string{"until": timeOrNever(k.Until), "why": why}, nil
	})
	return ended(err)
}

// ended passes over that somebody else has just ended what was to be ended.
func ended(err error) error {
	if err != nil && KindOf(err) == Conflict {
		return nil
	}
	return err
}

// stillUsed answers why a key cannot be said to be unused, or "".
func (a *Authority) stillUsed(ctx context.Context, kid KeyID, now time.Time) (string, error) {
	if now.Sub(a.Usage.Since()) < usedRecently {
		return "use has been counted for less than a day", nil
	}
	if a.Fleet != nil && now.Sub(a.UsageState().Others) > othersRecently {
		return "what other nodes have seen has not been read for an hour", nil
	}
	used := 0
	err := a.Store.View(ctx, func(tx Tx) error {
		used = 0
		s, err := system(tx)
		if err != nil {
			return err
		}
		for t, err := range tx.Tokens().All() {
			if err != nil {
				return err
			}
			if t.State(now, s.Generation) == StateActive && now.Sub(a.useUnder(t.ID, kid).Last) < usedRecently {
				used++
			}
		}
		return nil
	})
	if err != nil || used == 0 {
		return "", err
	}
	return "tokens used under it within a day: " + strconv.Itoa(used), nil
}

// rotateWhenDue rotates a key that is old enough, when policy says so.
func (a *Authority) rotateWhenDue(ctx context.Context, keys []Key, now time.Time) error {
	policy := a.Policy()
	if !policy.RotateAuto {
		return nil
	}
	for _, k := range keys {
		if k.State == KeyPrevious && k.Accepted(now) || k.State == KeyCurrent && now.Before(k.CurrentSince.Add(policy.RotateEvery)) {
			return nil
		}
	}
	_, err := a.RotateKey(ctx, Itself(), RotateRequest{Overlap: policy.DefaultOverlap(), Reason: "scheduled"})
	return ended(err)
}

// endTrial puts down that a trial is over: by the clock, or, when that was set
// back, by how long the trial has been watched.
func (a *Authority) endTrial(ctx context.Context, k Key, now time.Time, uptime time.Duration) error {
	if k.TrialUntil.IsZero() || k.State != KeyPrevious {
		return nil
	}
	if k.OnTrial(now) && !a.pulse.trialOver(k, now, uptime) {
		return nil
	}
	_, err := a.changePrevious(ctx, Itself(), string(k.ID), func(now *Key) (string, map[string]string, error) {
		if !now.TrialUntil.Equal(k.TrialUntil) {
			return "", nil, nil // ended or begun anew meanwhile
		}
		now.TrialUntil = time.Time{}
		return "key.trial_ended", map[string]string{"until": timeOrNever(k.TrialUntil)}, nil
	})
	return ended(err)
}
