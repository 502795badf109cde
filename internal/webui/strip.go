package webui

import (
	"context"
	"fmt"
	"time"

	"mintmark/internal/authority"
)

// endsSoon is how near the end of an overlap must be for every page to say who
// still needs it.
const endsSoon = 3 * day

// strip is one thing that the whole console says until it is mended.
type strip struct {
	Label, Icon, Text string
	Href, Word        string // what mends it, or tells more
	Quiet             bool   // worth knowing, and nothing is wrong
}

// strips collects them, the most urgent first: storage, what waits for a restart,
// then the keys. A token's end comes last, and not on the list, which says it.
func (w *console) strips(ctx context.Context, a *admin, f *frame, nav string) {
	counts, err := w.Authority.TokenCounts(ctx, a.Caller)
	if err != nil {
		counts = authority.TokenCounts{} // the page itself says that it cannot be read
	}
	if s := w.storageStrip(counts); s.Text != "" {
		f.Strips = append(f.Strips, s)
	}
	_, staging, err := w.Control.Properties(ctx, a.Caller)
	if err == nil {
		f.Staged = staging.Count
		if staging.Waiting > 0 {
			f.Strips = append(f.Strips, strip{Label: "Notice", Icon: "clock", Text: "Settings have changed and wait for a restart.", Href: "/settings", Word: "Settings"})
		}
	}
	if s := w.keyStrip(ctx, a); s.Text != "" {
		f.Strips = append(f.Strips, s)
	}
	if counts.Expiring > 0 && nav != "tokens" {
		verb := "expire"
		if counts.Expiring == 1 {
			verb = "expires"
		}
		f.Strips = append(f.Strips, strip{
			Label: "Notice", Icon: "clock", Text: plural(counts.Expiring, "token") + " " + verb + " within 14 days.", Href: "/tokens?expiring=14d", Word: "Show", Quiet: true,
		})
	}
}

func (w *console) storageStrip(counts authority.TokenCounts) strip {
	facts := w.Authority.Facts()
	s := strip{Label: "Storage warning", Icon: "warning"}
	switch {
	case facts.Problem != "":
		s.Text = "Changes cannot be written: " + facts.Problem + ". New tokens and deletions are refused until they can."
		return s
	case facts.Persistent:
		return s
	case counts.Active == 0:
		s.Text = "Tokens are kept in memory only. Restarting the server deletes any token you create."
	case counts.Active == 1:
		s.Text = "Tokens are kept in memory only. Restarting the server deletes the 1 there is."
	default:
		s.Text = fmt.Sprintf("Tokens are kept in memory only. Restarting the server deletes all %s.", number(count(counts.Active)))
	}
	s.Href, s.Word = "/settings/storage", "Set up storage"
	return s
}

// keyStrip is what the keys ask for.
func (w *console) keyStrip(ctx context.Context, a *admin) strip {
	keys, err := w.Authority.Keys(ctx, a.Caller)
	if err != nil {
		return strip{}
	}
	now, s := w.Now(), strip{Label: "Signing secret", Icon: "warning", Href: "/secret", Word: "Signing secret"}
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
		s.Text, s.Href = previous.Name+" is refused on trial until "+previous.TrialUntil.UTC().Format("15:04 UTC")+".", "/secret#overlap-title"
	case previous.ID != "":
		s.Text = w.overlapText(ctx, a, previous, now)
	case !now.Before(due):
		s.Text, s.Href, s.Word = fmt.Sprintf("%s has signed for %d days; rotating it was due after %d.", current.Name, now.Sub(current.CurrentSince)/day, w.Policy().RotateEvery/day), "/secret/rotate", "Rotate secret"
	case now.After(due.Add(-dueSoon)):
		s.Text, s.Href, s.Word = "Rotating "+current.Name+" is due "+until(now, due)+".", "/secret/rotate", "Rotate secret"
	}
	return s
}

// overlapText says that an overlap ends before everybody has moved.
func (w *console) overlapText(ctx context.Context, a *admin, previous authority.Key, now time.Time) string {
	left := previous.Until.Sub(now)
	if left > endsSoon {
		return ""
	}
	found, err := w.Authority.SomeEvidence(ctx, a.Caller, previous.Name, none())
	still := found.Count(authority.NotMoved) + found.Count(authority.Mixed)
	if err != nil || still == 0 {
		return ""
	}
	verb := "use"
	if still == 1 {
		verb = "uses"
	}
	when := "stops being accepted " + until(now, previous.Until)
	if left <= 0 { // it is held
		when = "is past its time"
	}
	return fmt.Sprintf("%s %s, and %s still %s it.", previous.Name, when, plural(still, "client"), verb)
}
