package webui

import (
	"context"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/message"
)

// endsSoon is how near the end of an overlap must be for every page to say who
// still needs it.
const endsSoon = 3 * day

// strip is one thing that the whole console says until it is mended.
type strip struct {
	Icon, Href        string       // the address of what mends it, or tells more
	Label, Text, Word message.Text // Word is that address in words
	Quiet             bool         // worth knowing, and nothing is wrong
}

// strips collects them, the most urgent first: storage, what waits for a restart,
// then the keys. A token's end comes last, and not on the list, which says it.
func (w *console) strips(ctx context.Context, a *admin, f *frame, nav string) {
	counts, err := w.Authority.TokenCounts(ctx, a.Caller)
	if err != nil {
		counts = authority.TokenCounts{} // the page itself says that it cannot be read
	}
	if s := w.storageStrip(counts); s.Text != nil {
		f.Strips = append(f.Strips, s)
	}
	_, staging, err := w.Control.Properties(ctx, a.Caller)
	if err == nil {
		f.Staged, f.Trial = staging.Count, trialStrip(w.Now(), staging.Trial)
		if staging.Waiting > 0 {
			f.Strips = append(f.Strips, strip{Label: say("Notice"), Icon: "clock", Text: say("Settings have changed and wait for a restart."), Href: "/settings", Word: say("Settings")})
		}
	}
	if s := w.keyStrip(ctx, a); s.Text != nil {
		f.Strips = append(f.Strips, s)
	}
	if counts.Expiring > 0 && nav != "tokens" {
		f.Strips = append(f.Strips, strip{
			Label: say("Notice"), Icon: "clock", Href: "/tokens?expiring=14d", Word: say("Show"), Quiet: true,
			Text: say("{n, plural, one {# token expires} other {# tokens expire}} within 14 days.", "n", counts.Expiring),
		})
	}
}

func (w *console) storageStrip(counts authority.TokenCounts) strip {
	facts := w.Authority.Facts()
	s := strip{Label: say("Storage warning"), Icon: "warning"}
	switch {
	case facts.Problem != "":
		s.Text = say("Changes cannot be written: {problem}. New tokens and deletions are refused until they can.", "problem", facts.Problem)
		return s
	case facts.Persistent:
		return s
	}
	s.Text = say("Tokens are kept in memory only. {n, plural, =0 {Restarting the server deletes any token you create.} one {Restarting the server deletes the # there is.} other {Restarting the server deletes all #.}}", "n", counts.Active)
	s.Href, s.Word = "/settings/storage", say("Set up storage")
	return s
}

// keyStrip is what the keys ask for.
func (w *console) keyStrip(ctx context.Context, a *admin) strip {
	keys, err := w.Authority.Keys(ctx, a.Caller)
	if err != nil {
		return strip{}
	}
	now, s := w.Now(), strip{Label: say("Signing secret"), Icon: "warning", Href: "/secret", Word: say("Signing secret")}
	var current, previous authority.Key
	for _, k := range keys {
		switch {
		case k.State == authority.KeyCurrent:
			current = k
		case k.State == authority.KeyPrevious && k.Accepted(now):
			previous = k
		}
	}
	due := current.CurrentSince.Add(w.Policy().RotateEvery)
	switch {
	case previous.OnTrial(now):
		s.Text, s.Href = say("{key} is refused on trial until {time}.", "key", previous.Name, "time", near(now, previous.TrialUntil)), "/secret#overlap-title"
	case previous.ID != "":
		s.Text = w.overlapText(ctx, a, previous, now)
	case !now.Before(due):
		s.Text, s.Href, s.Word = say("{key} has signed for {days, plural, one {# day} other {# days}}; rotating it was due after {due}.", "key", current.Name, "days", int(now.Sub(current.CurrentSince)/day), "due", int(w.Policy().RotateEvery/day)), "/secret/rotate", say("Rotate secret")
	case now.After(due.Add(-dueSoon)):
		s.Text, s.Href, s.Word = say("Rotating {key} is due {when}.", "key", current.Name, "when", until(now, due)), "/secret/rotate", say("Rotate secret")
	}
	return s
}

// overlapText says that an overlap ends before everybody has moved.
func (w *console) overlapText(ctx context.Context, a *admin, previous authority.Key, now time.Time) message.Text {
	left := previous.Until.Sub(now)
	if left > endsSoon {
		return nil
	}
	found, err := w.Authority.SomeEvidence(ctx, a.Caller, previous.Name, none())
	still := found.Count(authority.NotMoved) + found.Count(authority.Mixed)
	if err != nil || still == 0 {
		return nil
	}
	if left <= 0 { // it is held
		return say("{key} is past its time, and {n, plural, one {# client still uses} other {# clients still use}} it.", "key", previous.Name, "n", still)
	}
	return say("{key} stops being accepted {when}, and {n, plural, one {# client still uses} other {# clients still use}} it.", "key", previous.Name, "when", until(now, previous.Until), "n", still)
}
