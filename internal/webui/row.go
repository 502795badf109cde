package webui

import (
	"html/template"
	"slices"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/bitting"
	"mintmark/internal/message"
)

// tokenRow is a token as the list shows it. Everything is found out here and
// nothing by the template: fifty rows are most of what a page costs.
type tokenRow struct {
	ID, ShortID, Client, Glyph, Description string
	Name                                    template.HTML // the client ID, where it can be broken
	Fresh                                   bool          // it has just been made
	Role                                    message.Text
	State                                   rowState
	Tags                                    []template.HTML // as many as a row has room for
	MoreTags                                int
	NoTags                                  bool // and could have some

	Reveal, Restore, Delete string // addresses; "": that cannot be done
	Copies                  bool   // at once, without the password first
	Once                    bool   // its text was shown once and is not shown again

	Used     moment
	From     template.HTML
	Requests uint64       // in the last 24 hours
	Since    message.Text // never used since then; nil: never

	Recent      string // bars, as a path; "": not known
	RecentWords message.Text

	Expires moment
	Due     bool // soon
	Expired bool // it would have by now, whatever ended it
	Forever bool
	Day     message.Text // on which it expires
}

// rowState is what is not ordinary about a token.
type rowState struct {
	Icon string
	Text message.Text
}

// moment is a time as somebody wants it shown; the zero one is none.
type moment struct {
	At   string // RFC 3339
	Text message.Text
}

// moment is relative unless somebody wants times in UTC.
func (w *console) moment(v visit, t time.Time, relative func(now, t time.Time) message.Text) moment {
	if t.IsZero() {
		return moment{}
	}
	m := moment{At: t.UTC().Format(time.RFC3339)}
	if preference(v.r, "times", "relative") == "utc" {
		m.Text = utc(t)
	} else {
		m.Text = relative(w.Now(), t)
	}
	return m
}

// rows are those of the list that was read into b.
func (w *console) rows(v visit, b *tokensBody) []*tokenRow {
	rows := make([]*tokenRow, len(b.List.Items))
	for i := range b.List.Items {
		rows[i] = w.row(v, b, &b.List.Items[i])
	}
	return rows
}

func (w *console) row(v visit, b *tokensBody, t *authority.TokenView) *tokenRow {
	r := tokenRow{
		ID: string(t.ID), ShortID: t.ID.Short(), Client: t.ClientID, Name: breakable(t.ClientID), Glyph: bitting.Path(string(t.ID)), Description: t.Description, Fresh: b.fresh(t),
		Role: roleName(t.Role), State: stateOf(t, b.Previous),
		MoreTags: max(len(t.Tags)-2, 0), NoTags: len(t.Tags) == 0 && t.Role == authority.RoleUser,
		Used: w.moment(v, t.LastUse.At, ago), From: breakable(t.LastUse.From), Requests: count(t.Requests),
		Expires: w.moment(v, t.ExpiresAt, until), Forever: t.ExpiresAt.IsZero() && t.State == authority.StateActive, Expired: !t.ExpiresAt.IsZero() && !w.Now().Before(t.ExpiresAt),
	}
	for _, tag := range t.Tags[:min(len(t.Tags), 2)] {
		r.Tags = append(r.Tags, breakable(tag))
	}
	switch {
	case t.State != authority.StateActive:
	case b.CopyOff:
		r.Once = true
	default:
		r.Reveal, r.Copies = b.At(t.ID, "reveal"), !b.CopyStale
	}
	if t.State != authority.StateDeleted {
		r.Delete = b.At(t.ID, "delete")
	} else if !t.RestorableUntil.IsZero() {
		r.Restore = b.At(t.ID, "restore")
	}
	if since := w.unknownBefore(*t); !since.IsZero() {
		r.Since = date(since)
	}
	if days := b.recent[t.ID]; days != nil {
		of := recent{days: *days, first: authority.FirstRecentDay(b.today)}
		r.Recent, r.RecentWords = of.Bars(), of.Words()
	}
	if !t.ExpiresAt.IsZero() {
		left := t.ExpiresAt.Sub(w.Now())
		r.Day, r.Due = date(t.ExpiresAt), t.State == authority.StateActive && left > 0 && left <= soon
	}
	return &r
}

// breakable lets a long name or address go on in the next line behind its marks, and
// not within a word or a number.
func breakable(s string) template.HTML {
	s = template.HTMLEscapeString(s)
	if len(s) > 12 {
		s = strings.NewReplacer(".", ".<wbr>", "-", "-<wbr>", "@", "@<wbr>", "_", "_<wbr>", ":", ":<wbr>").Replace(s)
	}
	return template.HTML(s)
}

// stateOf answers the first that is so of what is not ordinary.
func stateOf(t *authority.TokenView, previous authority.KeyID) rowState {
	switch {
	case t.State == authority.StateDeleted && t.RestorableUntil.IsZero():
		return rowState{"trash", say("Deleted")}
	case t.State == authority.StateDeleted:
		return rowState{"trash", say("Deleted, restorable until {end}", "end", utc(t.RestorableUntil))}
	case t.State == authority.StateExpired:
		return rowState{"clock", say("Expired")}
	case t.State == authority.StateReplaced && t.Reused.Count > 0:
		return rowState{"clock", say("Replaced, and still used")}
	case t.State == authority.StateReplaced:
		return rowState{"clock", say("Replaced")}
	case t.State == authority.StateActive && t.ReplacedBy != "":
		return rowState{"half", say("Being replaced, until {end}", "end", utc(t.EndsAt))}
	case t.State == authority.StateActive && previous != "" && t.LastUse.Key == previous:
		return rowState{"half", say("Uses previous secret")}
	case t.State == authority.StateRevoked:
		return rowState{"clock", say("Ended by a reset")}
	}
	return rowState{}
}

// fresh reports whether t is the token that has just been made.
func (b *tokensBody) fresh(t *authority.TokenView) bool {
	return b.Dialog == "result" && t.ID == b.Token.ID
}

// showFresh puts the token that has just been made first, if the page lacks it.
func (b *tokensBody) showFresh() {
	if b.Dialog == "result" && !slices.ContainsFunc(b.List.Items, func(t authority.TokenView) bool { return b.fresh(&t) }) {
		b.List.Items = append([]authority.TokenView{b.Token}, b.List.Items...)
	}
}
