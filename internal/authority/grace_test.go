package authority_test

import (
	"errors"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/durable"
)

// An hour is an hour, in however many processes it passes; a leaked token has none.
func TestTheGraceOfADeletionOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issue := func(clientID string, leaked bool) (id authority.TokenID) {
		s.process(t, durable.Files{}, func(a *authority.Authority) {
			issued, err := a.IssueToken(t.Context(), operator(), authority.TokenRequest{ClientID: clientID, Role: "user"}, "")
			_, deleteErr := a.RevokeToken(t.Context(), operator(), issued.ID, leaked)
			if err := errors.Join(err, deleteErr); err != nil {
				t.Fatal(err)
			}
			id = issued.ID
		})
		return id
	}
	restored := func(id authority.TokenID) (code string) {
		s.process(t, durable.Files{}, func(a *authority.Authority) {
			_, err := a.RestoreToken(t.Context(), operator(), id)
			var e *authority.Error
			if errors.As(err, &e) {
				code = e.Code
			} else if err != nil {
				t.Fatal(err)
			}
		})
		return code
	}
	early, late, leaked := issue("early", false), issue("late", false), issue("leaked", true)
	s.advance(time.Hour - 2*time.Second)
	for id, want := range map[authority.TokenID]string{early: "", leaked: "token.deleted_for_good"} {
		if got := restored(id); got != want {
			t.Errorf("before the hour is over: %q, want %q", got, want)
		}
	}
	s.advance(3 * time.Second)
	for id, want := range map[authority.TokenID]string{early: "", late: "token.restore_ended", leaked: "token.deleted_for_good"} {
		if got := restored(id); got != want {
			t.Errorf("after it: %q, want %q", got, want)
		}
	}
}
