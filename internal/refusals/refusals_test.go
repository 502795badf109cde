package refusals_test

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/liveset"
	"mintmark/internal/refusals"

	"github.com/google/go-cmp/cmp"
)

// live gives the verdict that it has, and explains by repeating what it is told.
type live struct {
	reason   liveset.Reason
	token    string
	demand   liveset.Demand
	explains liveset.Refusal
}

func (l *live) Decide(token string, d liveset.Demand) liveset.Verdict {
	l.token, l.demand = token, d
	return liveset.Verdict{Reason: l.reason}
}

func (l *live) Explain(token string, d liveset.Demand) []liveset.Finding {
	l.token, l.demand = token, d
	return []liveset.Finding{{Check: "verdict", OK: true}}
}

func (l *live) ExplainRefusal(r liveset.Refusal) []liveset.Finding {
	l.explains = r
	return []liveset.Finding{{Check: "form", OK: true}, {Check: "verdict", Compared: r.Reason.String()}}
}

// desk is a log that keeps what is refused, at a time that the test sets.
type desk struct {
	*refusals.Log
	live   live
	masked bool
	now    time.Time
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{now: time.Date(2026, 11, 23, 14, 8, 2, 0, time.UTC)}
	var err error
	d.Log, err = refusals.New(refusals.Config{Live: &d.live, Masked: func() bool { return d.masked }, Now: func() time.Time { return d.now }})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) refuse(door, requestID string, reason liveset.Reason) {
	d.live.reason = reason
	d.Around(door, &d.live).Decide("x", liveset.Demand{RequestID: requestID, From: netip.MustParseAddr("10.2.0.14")})
}

func operator() authority.Caller {
	return authority.LocalOperator("root@tokens-01", authority.Origin{})
}

func TestARefusalIsFoundByItsRequest(t *testing.T) {
	d := newDesk(t)
	d.refuse("guard", "req_1", liveset.Expired)
	d.refuse("api", "req_2", liveset.NoCredential)
	answer, err := d.Explain(operator(), refusals.Question{RequestID: "req_1"})
	if err != nil || answer.Refusal == nil || answer.Refusal.Door != "guard" || answer.Refusal.Reason != liveset.Expired || !answer.Refusal.At.Equal(d.now) {
		t.Errorf("%+v, %v", answer.Refusal, err)
	}
	if cause := answer.Cause(); cause == nil || cause.Compared != "expired" || d.live.explains.Demand.From.String() != "10.2.0.14" {
		t.Errorf("the cause is %+v of %+v", cause, d.live.explains)
	}
}

func TestAnAddressIsShownAsThePropertySays(t *testing.T) {
	d := newDesk(t)
	d.refuse("guard", "req_1", liveset.Expired)
	for masked, want := range map[bool]string{false: "10.2.0.14", true: "10.2.0.0/24"} {
		d.masked = masked
		if answer, err := d.Explain(operator(), refusals.Question{RequestID: "req_1"}); err != nil || answer.From != want {
			t.Errorf("masked %v: from %q, %v", masked, answer.From, err)
		}
	}
	d.Around("introspection", &d.live).Decide("x", liveset.Demand{RequestID: "req_2"})
	if answer, err := d.Explain(operator(), refusals.Question{RequestID: "req_2"}); err != nil || answer.From != "" {
		t.Errorf("from %q, %v", answer.From, err)
	}
}

func TestWhatIsAllowedOrHasNoRequestIsNotKept(t *testing.T) {
	d := newDesk(t)
	d.refuse("guard", "req_1", liveset.Allowed)
	d.refuse("guard", "", liveset.Deleted)
	for _, id := range []string{"req_1", "req_2"} {
		_, err := d.Explain(operator(), refusals.Question{RequestID: id})
		if authority.KindOf(err) != authority.NotFound || !strings.Contains(err.Error(), "4,096") || !strings.Contains(err.Error(), "24 hours") {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestOfARequestThatWasRefusedTwiceTheNewestIsTold(t *testing.T) {
	d := newDesk(t)
	for _, reason := range []liveset.Reason{liveset.Deleted, liveset.UnknownToken, liveset.TagMissing} {
		d.refuse("api", "req_1", reason)
		answer, err := d.Explain(operator(), refusals.Question{RequestID: "req_1"})
		if err != nil || answer.Refusal.Reason != reason {
			t.Errorf("%+v, %v", answer.Refusal, err)
		}
		d.now = d.now.Add(time.Second)
	}
}

func TestNothingIsKeptForLongerThanADay(t *testing.T) {
	d := newDesk(t)
	d.refuse("api", "req_1", liveset.Deleted)
	d.now = d.now.Add(refusals.Keep)
	if _, err := d.Explain(operator(), refusals.Question{RequestID: "req_1"}); err != nil {
		t.Errorf("after a day: %v", err)
	}
	d.now = d.now.Add(1)
	if _, err := d.Explain(operator(), refusals.Question{RequestID: "req_1"}); authority.KindOf(err) != authority.NotFound {
		t.Errorf("after more than a day: %v", err)
	}
}

func TestAFloodPushesOutItsLikeAlone(t *testing.T) {
	d := newDesk(t)
	d.refuse("api", "of a client", liveset.TagMissing)
	for i := range refusals.Most {
		d.refuse("api", fmt.Sprintf("stranger %d", i), liveset.UnknownToken)
	}
	for id, kept := range map[string]bool{"of a client": true, "stranger 0": false, fmt.Sprintf("stranger %d", refusals.Most-1): true} {
		if _, err := d.Explain(operator(), refusals.Question{RequestID: id}); (err == nil) != kept {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// Whatever is sent, what is kept of it is bounded.
func TestWhatIsKeptIsBounded(t *testing.T) {
	d := newDesk(t)
	d.live.reason = liveset.UnknownToken
	door := d.Around("api", &d.live)
	big := strings.Repeat("A", 200)
	tags := strings.Repeat(`,"`+big+`"`, 12)[1:]
	token := sign(t, `{"jti":"`+big+`","client_id":"`+big+`","sub":"`+big+`","iss":"`+big+`","role":"user","aud":[`+tags+`],"tags":[`+tags+`]}`)
	before := heap()
	for i := range refusals.Most {
		door.Decide(token, liveset.Demand{RequestID: fmt.Sprint("req_", i)})
		door.Decide(token[:len(token)-1], liveset.Demand{RequestID: fmt.Sprint("bad_", i)})
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("%d bytes are kept", grown)
	}
	runtime.KeepAlive(d)
}

func TestManyRefuseAndAskAtOnce(t *testing.T) {
	d := newDesk(t)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			own := &live{reason: liveset.Deleted}
			door := d.Around("api", own)
			for i := range 200 {
				id := fmt.Sprintf("req_%d_%d", n, i)
				door.Decide("x", liveset.Demand{RequestID: id})
				if _, err := d.Log.Explain(operator(), refusals.Question{Token: authority.NewSecret("x"), RequestID: id}); err == nil {
					t.Errorf("%s: a question that is two is answered", id)
				}
			}
		})
	}
	all.Wait()
}

func TestOnlyAnAdministratorIsTold(t *testing.T) {
	d := newDesk(t)
	d.refuse("api", "req_1", liveset.Deleted)
	for name, c := range map[string]authority.Caller{
		"nobody": authority.Nobody(authority.Origin{}), "user": authority.TokenCaller("tok_1", "etl", authority.RoleUser, authority.Origin{}),
	} {
		for _, q := range []refusals.Question{{RequestID: "req_1"}, {Token: authority.NewSecret("x")}} {
			if answer, err := d.Explain(c, q); err == nil || answer.Refusal != nil || answer.Findings != nil {
				t.Errorf("%s is told %+v", name, answer)
			}
		}
	}
}

func TestADemandIsReadAsTheDoorWouldHaveIt(t *testing.T) {
	for name, c := range map[string]struct {
		q    refusals.Question
		want liveset.Demand
	}{
		"nothing":       {refusals.Question{}, liveset.Demand{}},
		"forward-auth":  {refusals.Question{Door: "forward_auth", Role: "admin", Tags: []string{"a:b"}, ClientID: "etl", From: "::ffff:10.2.0.14"}, liveset.Demand{Role: authority.RoleAdmin, Tags: []string{"a:b"}, ClientID: "etl", From: netip.MustParseAddr("10.2.0.14")}},
		"introspection": {refusals.Question{Door: "introspection", From: "10.2.0.14"}, liveset.Demand{}},
		"kubernetes":    {refusals.Question{Door: "kubernetes", Audience: []string{"x"}}, liveset.Demand{Audience: []string{"x"}}},
		"our own":       {refusals.Question{Door: "api"}, liveset.Demand{Purpose: liveset.ForOwnCalls}},
	} {
		d := newDesk(t)
		c.q.Token = authority.NewSecret("x")
		if _, err := d.Explain(operator(), c.q); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(fmt.Sprint(c.want), fmt.Sprint(d.live.demand)); diff != "" || d.live.token != "x" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAQuestionThatIsNoneNamesItsFields(t *testing.T) {
	d := newDesk(t)
	text := authority.NewSecret("x")
	for want, q := range map[string]refusals.Question{
		"token.empty": {}, "request_id.both": {RequestID: "req_1", Token: text}, "request_id.demand": {RequestID: "req_1", Role: "admin"},
		"role.unknown": {Token: text, Role: "root"}, "from.form": {Token: text, From: "here"}, "door.unknown": {Token: text, Door: "window"},
	} {
		_, err := d.Explain(operator(), q)
		var got []string
		var e *authority.Error
		if errors.As(err, &e) {
			for _, f := range e.Fields {
				got = append(got, f.Code)
			}
		}
		if diff := cmp.Diff([]string{want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want, diff)
		}
	}
}

func TestALogIsMadeWhole(t *testing.T) {
	if _, err := refusals.New(refusals.Config{}); err == nil {
		t.Error("made of nothing")
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
