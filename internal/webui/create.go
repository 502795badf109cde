package webui

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/message"
)

// tokenForm is the dialog New API Token as it was filled in.
type tokenForm struct {
	ClientID, Role, Tags, Expires, Date, Description, Contact, Addresses, Audience, Key string
	Offset                                                                              string // minutes that UTC is ahead of the viewer's clock on that date
	Choices                                                                             []option
	Known                                                                               []string // tags there are
	Never                                                                               bool
	filled                                                                              bool
}

func (w *console) emptyForm(p authority.Policy) tokenForm {
	return tokenForm{Role: string(authority.RoleUser), Expires: strconv.Itoa(int(p.DefaultLifetime / (24 * time.Hour))), Key: w.NewKey()}
}

// expiryChoices are the presets that the policy leaves, and its default.
func expiryChoices(p authority.Policy) []option {
	var out []option
	standard := int(p.DefaultLifetime / (24 * time.Hour))
	listed := standard < 1
	for _, days := range []int{7, 30, 90, 180, 365} {
		if !listed && standard < days {
			out = append(out, inDays(standard))
			listed = true
		}
		if p.MaxLifetime > 0 && time.Duration(days)*24*time.Hour > p.MaxLifetime {
			continue
		}
		listed = listed || days == standard
		out = append(out, inDays(days))
	}
	if !listed {
		out = append(out, inDays(standard))
	}
	return out
}

func inDays(n int) option {
	return option{strconv.Itoa(n), say("in {n, plural, one {# day} other {# days}}", "n", n)}
}

func (w *console) createToken(rw http.ResponseWriter, r *http.Request, a admin) {
	form, v := readForm(r), visit{rw, r, a}
	request, err := form.request()
	var issued authority.Issued
	if err == nil {
		issued, err = w.Authority.IssueToken(r.Context(), a.Caller, request, form.Key)
	}
	switch kind := authority.KindOf(err); {
	case err == nil:
		w.showTokens(v, http.StatusCreated, tokensBody{tokenDialog: tokenDialog{Dialog: "result", Token: issued.TokenView, Text: issued.Text.Unsafe()}}, page{
			Title: say("Token created"), Dialog: []string{w.createCommand(form)},
		})
	case kind == authority.Internal:
		w.failure(rw, r, &a, err)
	default:
		p := page{Title: say("New API Token")}
		p.Errors, p.Problem = faults(err)
		if kind == authority.Conflict {
			// This form has made its token: sent again as it is now, it makes another.
			form.Key = w.NewKey()
			p.Problem = say("This form has already made a token. Press Create again to make another one.")
		}
		w.showTokens(v, statusOf(kind), tokensBody{tokenDialog: tokenDialog{Dialog: "new"}, Form: form}, p)
	}
}

func readForm(r *http.Request) tokenForm {
	f := func(name string) string { return r.PostFormValue(name) }
	return tokenForm{
		filled: true, ClientID: f("client_id"), Role: f("role"), Tags: f("tags"), Expires: f("expires"), Date: f("date"), Offset: f("offset"),
		Description: f("description"), Contact: f("contact"), Addresses: f("allowed_addresses"), Audience: f("audience"), Key: f("key"),
	}
}

func (f tokenForm) request() (authority.TokenRequest, error) {
	request := authority.TokenRequest{
		ClientID: f.ClientID, Role: f.Role, Description: f.Description, Contact: f.Contact,
		AllowedAddresses: words(f.Addresses), Audience: words(f.Audience),
	}
	if f.Role == string(authority.RoleUser) {
		request.Tags = words(f.Tags) // the field is not there for other roles
	}
	switch f.Expires {
	case "never":
		request.Never = true
	case "date":
		end, err := endOfDay(f.Date, f.Offset)
		if err != nil {
			return request, fault("expires_at", "Choose a date.")
		}
		request.ExpiresAt = end
	default:
		days, err := strconv.Atoi(f.Expires)
		if err != nil || days < 1 || days > 36500 {
			return request, fault("lifetime", "Choose when the token expires.")
		}
		request.Lifetime = time.Duration(days) * 24 * time.Hour
	}
	return request, nil
}

// endOfDay is the last second of a day where the viewer is, which only script
// knows: offset is the minutes that UTC is ahead there. Without it, or beyond any
// zone there is, the day is UTC's.
func endOfDay(date, offset string) (time.Time, error) {
	first, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return time.Time{}, err
	}
	minutes, err := strconv.Atoi(offset)
	if err != nil || minutes < -14*60 || minutes > 12*60 {
		minutes = 0
	}
	return first.AddDate(0, 0, 1).Add(time.Duration(minutes)*time.Minute - time.Second), nil
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' })
}

func fault(field, text string) error {
	return &authority.Error{Kind: authority.Invalid, Fields: []authority.FieldError{{Field: field, Code: field + ".form", Msg: text}}}
}

// faults splits what a form is told into its fields and the rest.
func faults(err error) ([]authority.FieldError, message.Text) {
	var e *authority.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		return nil, publicText(err)
	}
	fields := append([]authority.FieldError(nil), e.Fields...)
	for i := range fields {
		fields[i].Msg = curly(fields[i].Msg)
		if fields[i].Code == "expires_at.past" {
			fields[i].Msg = "Choose a date after today."
		}
	}
	return fields, nil
}

// createCommand makes the same token from the shell.
func (w *console) createCommand(f tokenForm) string {
	args := []string{"token", "create", "--client-id", strings.TrimSpace(f.ClientID), "--role", f.Role}
	if f.Role == string(authority.RoleUser) {
		for _, tag := range words(f.Tags) {
			args = append(args, "--tag", tag)
		}
	}
	for _, a := range words(f.Addresses) {
		args = append(args, "--allow", a)
	}
	switch f.Expires {
	case "never":
		args = append(args, "--expires", "never")
	case "date":
		if request, err := f.request(); err == nil {
			args = append(args, "--expires", request.ExpiresAt.Format(time.RFC3339))
		}
	default:
		args = append(args, "--expires", f.Expires+"d")
	}
	return w.command(args...)
}
