package control

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
)

// storeTime bounds what a status asks of the store, all together: who looks at how
// the server stands often does so because the store does not answer.
const storeTime = 2 * time.Second

// kept is what the store says of its own; unknown names what it did not answer.
type kept struct {
	counts  authority.TokenCounts
	keys    []authority.Key
	fleet   authority.FleetState
	logins  int
	unknown []string
}

// askStore asks the store. One that is out of reach is a thing to tell, not a
// reason to say nothing.
func (c *Control) askStore(ctx context.Context, by authority.Caller) (k kept, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	for _, question := range []struct {
		about string
		ask   func() error
	}{
		{Tokens, func() (err error) { k.counts, err = c.Authority.TokenCounts(ctx, by); return err }},
		{Keys, func() (err error) { k.keys, err = c.Authority.Keys(ctx, by); return err }},
		{Nodes, func() (err error) { k.fleet, err = c.Authority.Nodes(ctx, by); return err }},
		{Logins, func() (err error) { k.logins, err = c.Authority.Logins(ctx, by); return err }},
	} {
		switch err := question.ask(); {
		case err == nil:
		case authority.KindOf(err) == authority.Unavailable:
			k.unknown = append(k.unknown, question.about)
		default:
			return k, err
		}
	}
	return k, nil
}

// Status tells how the server stands, problems first. It waits no longer for the
// store than 2 s, and about a second more where a connection has to be given up.
func (c *Control) Status(ctx context.Context, by authority.Caller) (Status, error) {
	asked, err := c.askStore(ctx, by)
	if err != nil {
		return Status{}, err
	}
	properties, staging, err := c.Properties(ctx, by)
	if err != nil {
		return Status{}, err
	}
	settings := c.Running.Settings()
	s := Status{
		Version: c.Program.Version, PID: c.Program.PID, Home: c.Program.Home, StartedAt: c.Program.StartedAt,
		Listen: settings.Listen, URL: c.Program.URL(), Store: c.Authority.Facts(), Tokens: asked.counts, Staging: staging, Refusals: c.Refusals(), Usage: c.Authority.UsageState(),
		Fleet: asked.fleet, Logins: asked.logins, Unknown: asked.unknown,
	}
	if c.Config.Verdicts != nil {
		s.Verdicts = c.Config.Verdicts()
	}
	for _, k := range asked.keys {
		if k.State == authority.KeyCurrent {
			s.CurrentKey, s.KeyDue = k, k.CurrentSince.Add(settings.Reminder)
		}
	}
	for _, k := range asked.keys {
		if k.State == authority.KeyPrevious && k.Accepted(c.Now()) {
			s.Checks = append(s.Checks, overlapCheck(k, c.Now()))
		}
	}
	s.Checks = append(s.Checks, fleetCheck(asked.fleet)...)
	s.Checks = append(s.Checks, c.storeCheck(s), c.configCheck(staging, properties), tlsCheck(settings.Certificate != "", settings.Listen), issuerCheck(settings))
	if s.Knows(Keys) {
		s.Checks = append(s.Checks, keyCheck(s, c.Now()))
	}
	if s.Knows(Tokens) {
		s.Checks = append(s.Checks, tokenCheck(s.Tokens))
	}
	if s.Usage.Durable {
		s.Checks = append(s.Checks, usageCheck(s.Usage))
	}
	if s.Verdicts.Count > 0 {
		s.Checks = append(s.Checks, verdictCheck(s.Verdicts))
	}
	if c.Surroundings != nil {
		s.Checks = append(s.Checks, c.Surroundings()...)
	}
	slices.SortStableFunc(s.Checks, func(a, b Check) int { return cmp.Compare(a.rank(), b.rank()) })
	return s, nil
}

func (c Check) rank() int {
	switch {
	case !c.OK:
		return 0
	case c.Warning:
		return 1
	}
	return 2
}

func (c *Control) storeCheck(s Status) Check {
	check := Check{Name: "token store", OK: true, Fact: "persistent, " + s.Store.Location}
	silent := "the store does not answer; not known: " + strings.Join(s.Unknown, ", ")
	switch {
	case len(s.Unknown) > 0:
		check.OK, check.Fact = false, silent
		check.Fix = "Look whether it can be reached and is not overloaded; requests are answered as before until its state is too old (fleet.max_staleness)."
		if s.Store.Problem != "" {
			check.Fact = "changes cannot be written: " + s.Store.Problem + "; " + silent
		}
	case s.Store.Problem != "":
		check.OK, check.Fact = false, "changes cannot be written: "+s.Store.Problem
		check.Fix = "Make the place writable again; the next change tries by itself."
	case s.Store.Alarm != "":
		check.Warning, check.Fact = true, s.Store.Alarm
		check.Fix = "Compare the newest tokens and revocations with what clients were told; a restart takes this away."
	case !s.Store.Persistent:
		check.Warning, check.Fact = true, fmt.Sprintf("tokens are kept in memory only; a restart deletes all %d", s.Tokens.Active)
		check.Fix = "manager config properties set api.access.tokens.store /path/to/token.json, then manager config apply"
	}
	return check
}

func usageCheck(u authority.LedgerState) Check {
	check := Check{Name: "counts of use", OK: true, Fact: "saved every 30 seconds"}
	switch {
	case !u.Saved.IsZero():
		check.Fact = "saved until " + u.Saved.UTC().Format(time.RFC3339)
	case u.Problem == "":
		check.Fact = "not saved yet"
	}
	if u.Problem != "" {
		check.Warning, check.Fact = true, "not saved since "+u.Saved.UTC().Format(time.RFC3339)+": "+u.Problem
		check.Fix = "Make the place of usage.db writable again; what was counted is kept and saved then."
	}
	if u.Lost > 0 {
		check.Warning, check.Fact = true, fmt.Sprintf("%s; %d requests were not counted, for lack of room", check.Fact, u.Lost)
	}
	return check
}

func verdictCheck(v Verdicts) Check {
	over := max(v.AsOf.Sub(v.Since), time.Second)
	fact := fmt.Sprintf("%s a second in the last %s", significant(float64(v.Count)/over.Seconds()), over.Round(time.Second))
	if v.P99 > 0 {
		const millisecond = float64(time.Millisecond)
		fact += fmt.Sprintf("; p50 %s ms, p99 %s ms", significant(float64(v.P50)/millisecond), significant(float64(v.P99)/millisecond))
	}
	return Check{Name: "verdicts", OK: true, Fact: fact}
}

// significant has two digits that count, or all that are whole.
func significant(n float64) string {
	digits := 0
	for d := n; d < 10 && digits < 5; d *= 10 {
		digits++
	}
	return strconv.FormatFloat(n, 'f', digits, 64)
}

func keyCheck(s Status, now time.Time) Check {
	age, due := int(now.Sub(s.CurrentKey.CurrentSince)/(24*time.Hour)), int(s.KeyDue.Sub(s.CurrentKey.CurrentSince)/(24*time.Hour))
	check := Check{Name: "signing secret", OK: true, Fact: fmt.Sprintf("%s, day %d of %d", s.CurrentKey.Name, age+1, due)}
	if !now.Before(s.KeyDue.Add(-14 * 24 * time.Hour)) {
		check.Warning, check.Fix = true, "Rotating is recommended every six months: manager key rotate"
	}
	return check
}

// overlapSoon is how long before its end an overlap is worth a look.
const overlapSoon = 3 * 24 * time.Hour

func overlapCheck(k authority.Key, now time.Time) Check {
	check := Check{Name: "overlap", OK: true, Fact: k.Name + " is accepted until " + k.Until.UTC().Format(time.RFC3339)}
	switch {
	case k.OnTrial(now):
		check.Warning, check.Fact = true, k.Name+" is on a trial stop until "+k.TrialUntil.UTC().Format(time.RFC3339)
		check.Fix = "Accept it again now: manager key trial-stop " + k.Name + " --end"
	case now.After(k.Until.Add(-overlapSoon)):
		check.Warning, check.Fix = true, "See who still depends on it: manager key evidence "+k.Name
	}
	return check
}

func (c *Control) configCheck(s Staging, properties []Property) Check {
	check := Check{Name: "settings", OK: true, Fact: fmt.Sprintf("revision %d, nothing staged, nothing waiting for a restart", s.Revision)}
	var waiting []string
	for _, p := range properties {
		if p.Waiting {
			waiting = append(waiting, p.Name)
		}
	}
	switch {
	case s.Trial != nil:
		check.Warning, check.Fact = true, fmt.Sprintf("revision %d is on trial until %s: %s", s.Revision, s.Trial.Until.UTC().Format(time.RFC3339), strings.Join(s.Trial.Properties, ", "))
		if len(s.Trial.With) > 0 {
			check.Fact += "; with that " + strings.Join(s.Trial.With, ", ")
		}
		check.Fix = fmt.Sprintf("Keep it: manager config confirm; without that revision %d comes back. Go back now: manager config revert", s.Trial.Back)
	case len(waiting) > 0:
		check.Warning, check.Fact, check.Fix = true, "waiting for a restart: "+strings.Join(waiting, ", "), "manager restart"
	case c.Book != nil && len(c.Book.Pending()) > 0:
		check.OK, check.Fact = false, "1 change waits for the audit log"
		if n := len(c.Book.Pending()); n > 1 {
			check.Fact = fmt.Sprintf("%d changes wait for the audit log", n)
		}
		check.Fix = "Make the audit log writable again; the server catches up by itself."
	case s.Count > 0:
		check.Warning, check.Fact, check.Fix = true, fmt.Sprintf("%d staged", s.Count), "Put it in force: manager config apply; or drop it: manager config discard"
	}
	return check
}

func tlsCheck(on bool, listen string) Check {
	check := Check{Name: "encryption", OK: true, Fact: "TLS"}
	if !on {
		check.Fact = "plain HTTP on " + listen
		if loopback(listen) {
			check.Fact += ", which is this machine only"
		} else {
			check.Warning, check.Fix = true, "Set server.tls.certificate and server.tls.key, or listen on loopback behind a proxy that has TLS."
		}
	}
	return check
}

// issuerCheck compares where clients are sent with where the server is: tokens
// and the metadata name the issuer, and libraries look for the keys there.
func issuerCheck(s config.Settings) Check {
	check := Check{Name: "issuer", OK: true, Fact: s.Issuer}
	issuer, err := url.Parse(s.Issuer)
	if err != nil || issuer.Host == "" {
		return check // a name that is no address
	}
	addr, _ := netip.ParseAddr(issuer.Hostname())
	switch {
	case addr.IsUnspecified():
		check.Warning, check.Fact = true, s.Issuer+" is no address that a client can reach"
	case issuer.Scheme == "http" && s.Certificate != "":
		check.Warning, check.Fact = true, s.Issuer+" is not where this server is reached: it has TLS"
	case loopback(issuer.Host) && !loopback(s.Listen):
		check.Warning, check.Fact = true, s.Issuer+" is this machine only, and the server listens on "+s.Listen
	}
	if check.Warning {
		check.Fix = "manager config properties set " + config.Issuer + " https://NAME:PORT, then manager config apply; tokens that exist keep the issuer they carry"
	}
	return check
}

func tokenCheck(t authority.TokenCounts) Check {
	check := Check{Name: "tokens", OK: true, Fact: fmt.Sprintf("%d active, %d expired, %d restorable or deleted", t.Active, t.Expired, t.Deleted)}
	if t.Expiring > 0 {
		check.Warning, check.Fact = true, fmt.Sprintf("%d of %d end within 14 days", t.Expiring, t.Active)
		check.Fix = "manager token list --expiring 14d"
	}
	return check
}
