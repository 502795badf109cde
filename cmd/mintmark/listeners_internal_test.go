package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
)

// listening is what listens where settings say, and the port of that.
func listening(t *testing.T) (*listeners, string) {
	t.Helper()
	running, err := control.NewRunning(config.Layers{})
	if err != nil {
		t.Fatal(err)
	}
	k := &core{log: slog.New(slog.DiscardHandler), running: running, clock: authority.NewClock(time.Now)}
	l := &listeners{
		server: &server{core: k, cli: &cli{program: "mintmark"}}, public: http.NotFoundHandler(), figures: http.NotFoundHandler(),
		failed: make(chan error, 1), pairs: make(map[[2]string]*certificate), vain: make(map[string]vain),
	}
	t.Cleanup(func() { l.drain(0) })
	free := take(t, "127.0.0.1:0")
	_, port, err := net.SplitHostPort(free.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.follow(t.Context(), config.Settings{Listen: "127.0.0.1:" + port}); err != nil {
		t.Fatal(err)
	}
	l.begin()
	return l, port
}

// take has an address until the test ends, or before.
func take(t *testing.T, address string) net.Listener {
	t.Helper()
	at, err := new(net.ListenConfig).Listen(context.WithoutCancel(t.Context()), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = at.Close() })
	return at
}

// answers asks there what only a server answers.
func answers(t *testing.T, address string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatalf("nobody answers: %v", err)
	}
	if err := got.Body.Close(); err != nil || got.StatusCode != http.StatusNotFound {
		t.Errorf("got %s, %v", got.Status, err)
	}
}

// elsewhere is no address of this machine (RFC 5737 section 3).
const elsewhere = "192.0.2.7:"

func TestAnAddressThatCannotBeListenedOnLeavesTheOneBefore(t *testing.T) {
	t.Parallel()
	l, port := listening(t)
	if l.follow(t.Context(), config.Settings{Listen: elsewhere + port}) == nil {
		t.Fatal("it listens where it cannot")
	}
	answers(t, "127.0.0.1:"+port)
}

func TestWhatWorksLetsGoOnceOfWhatCannotBeHad(t *testing.T) {
	t.Parallel()
	l, port := listening(t)
	works := l.open[0].service
	vainly := func() (anew bool) {
		t.Helper()
		if err := l.follow(t.Context(), config.Settings{Listen: elsewhere + port}); err == nil {
			t.Fatal("it listens where it cannot")
		}
		before := works
		works = l.open[0].service
		if got := l.surroundings()[0]; got.Name != "address" || got.OK || !strings.Contains(got.Fact, elsewhere+port) {
			t.Errorf("the status says %+v", got)
		}
		answers(t, "127.0.0.1:"+port)
		return works != before
	}
	if !vainly() || vainly() || vainly() {
		t.Error("what works let go again")
	}
	l.forget()
	if !vainly() {
		t.Error("it is not tried once more")
	}
}

func TestADoorComesWhereTheServerLeaves(t *testing.T) {
	t.Parallel()
	l, port := listening(t)
	here, there := "127.0.0.1:"+port, free(t)
	for _, at := range [][2]string{{there, here}, {here, ""}, {here, there}} {
		if err := l.follow(t.Context(), config.Settings{Listen: at[0], Metrics: at[1]}); err != nil {
			t.Fatal(err)
		}
		answers(t, at[0])
	}
}

// Until the answer to a change has arrived, it listens where it did.
func TestAnAddressThatIsStillOpenCanBeChosenAgain(t *testing.T) {
	t.Parallel()
	l, port := listening(t)
	for _, host := range []string{"127.0.0.1:", "localhost:", "0.0.0.0:"} {
		if err := l.check(host + port); err != nil {
			t.Error(err)
		}
	}
	other := take(t, "127.0.0.1:0").Addr().String()
	if err := l.check(other); err == nil || !strings.Contains(err.Error(), other+" is already in use by ") {
		t.Errorf("got %v", err)
	}
}

func TestAnAddressThatAnotherDoorHasIsSaidToBeOfThisServer(t *testing.T) {
	t.Parallel()
	l, port := listening(t)
	metrics := free(t)
	if err := l.follow(t.Context(), config.Settings{Listen: "127.0.0.1:" + port, Metrics: metrics}); err != nil {
		t.Fatal(err)
	}
	if err := l.check(metrics); err == nil || !strings.Contains(err.Error(), "in use by this server, for metrics.listen") {
		t.Errorf("got %v", err)
	}
}

// ended is a service that tells whether it was ended.
type ended struct {
	http.Server
	is bool
}

func (e *ended) Close() error {
	e.is = true
	return e.Server.Close()
}

func TestWhatCannotListenIsEnded(t *testing.T) {
	t.Parallel()
	l, _ := listening(t)
	var made ended
	err := l.replace(t.Context(), entrance{
		property: config.ExtAuthzListen, address: take(t, "127.0.0.1:0").Addr().String(), answers: func() (service, error) { return &made, nil },
	})
	if err == nil || !made.is {
		t.Errorf("ended: %v, %v", made.is, err)
	}
}

func TestAnAddressThatWasLostIsListenedOnAgain(t *testing.T) {
	t.Parallel()
	l, port := listening(t)
	here := "127.0.0.1:" + port
	var thief net.Listener
	again := l.open[0].answers
	l.open[0].answers = func() (service, error) { // it is asked for between letting go and coming back
		thief = take(t, here)
		return again()
	}
	if l.follow(t.Context(), config.Settings{Listen: elsewhere + port}) == nil {
		t.Fatal("it listens where it cannot")
	}
	if l.follow(t.Context(), config.Settings{Listen: here}) == nil {
		t.Fatal("it is said to listen where another does")
	}
	if got := l.surroundings()[0]; got.Name != "address" || got.OK || !strings.Contains(got.Fact, here+" is already in use by ") {
		t.Errorf("the status says %+v", got)
	}
	if err := thief.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.follow(t.Context(), config.Settings{Listen: here}); err != nil {
		t.Fatal(err)
	}
	if got := l.surroundings()[0]; got.Name == "address" {
		t.Errorf("the status says %+v", got)
	}
	answers(t, here)
}

func TestWhatWasLeftForAnAddressIsOpenedOnTheWayBack(t *testing.T) {
	t.Parallel()
	l, port := listening(t)
	here, taken := "127.0.0.1:"+port, take(t, "127.0.0.1:0").Addr().String()
	if l.follow(t.Context(), config.Settings{Listen: "localhost:" + port, Metrics: taken}) == nil {
		t.Fatal("it listens where another does")
	}
	if err := l.follow(t.Context(), config.Settings{Listen: here}); err != nil {
		t.Fatal(err)
	}
	answers(t, here)
}
