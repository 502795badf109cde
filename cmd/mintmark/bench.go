package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mintmark/api"
)

// benchmark is what is to be measured.
type benchmark struct {
	target, door string
	connections  int
	duration     time.Duration
}

func (c *cli) benchCommand() *cobra.Command {
	var b benchmark
	cmd := local(&cobra.Command{
		Use: "bench", Short: "Measure how fast a door answers", Args: exactly(0, 0),
		Long: "It asks the server of this home over loopback, on so many connections as fast as each is answered, with one token: that of\n" +
			"MINTMARK_TOKEN, or one that is made for it and deleted for good at the end. The load takes its share of the machine.\n" +
			"--target measures another address on purpose: a server, or with a path an API behind a door, which is asked by GET.",
		Example: c.example("manager bench --duration 30s --connections 64", "manager bench --target https://api.example/items"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.check(); err != nil {
				return err
			}
			return c.bench(cmd.Context(), b)
		},
	})
	f := cmd.Flags()
	f.StringVar(&b.door, "door", "verify", "verify (forward-auth), introspect or whoami (our own API)")
	f.StringVar(&b.target, "target", "", "another address than loopback: http or https")
	f.IntVar(&b.connections, "connections", 32, "how many connections ask, 1 to 1000")
	f.DurationVar(&b.duration, "duration", 10*time.Second, "how long, 1s to 1h")
	offer(cmd, "door", doorNames()...)
	return cmd
}

func doorNames() []string { return []string{"verify", "introspect", "whoami"} }

func (b benchmark) check() error {
	_, known := b.question("", tokensOfBench{})
	switch {
	case !known:
		return fail(exitUsage, "usage", "--door is %s", strings.Join(doorNames(), ", "))
	case b.connections < 1 || b.connections > 1000:
		return fail(exitUsage, "usage", "--connections is 1 to 1000")
	case b.duration < time.Second || b.duration > time.Hour:
		return fail(exitUsage, "usage", "--duration is 1s to 1h")
	}
	if b.target == "" {
		return nil
	}
	u, err := url.Parse(b.target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fail(exitUsage, "usage", "--target is an http or https address without a query")
	}
	return nil
}

// tokensOfBench are what is asked with: a token, and who may ask about it.
type tokensOfBench struct {
	asked, asker string
	made         []api.Token // for this alone
}

// question is what a door is asked.
func (b benchmark) question(base string, t tokensOfBench) (question, bool) {
	base = strings.TrimSuffix(base, "/")
	switch b.door {
	case "verify":
		return question{method: "GET", url: base + "/auth/verify", bearer: t.asked}, true
	case "whoami":
		return question{method: "GET", url: base + "/api/v1/whoami", bearer: t.asked}, true
	case "introspect":
		return question{method: "POST", url: base + "/oauth2/introspect", bearer: t.asker, form: url.Values{"token": {t.asked}}.Encode()}, true
	}
	return question{}, false
}

func (c *cli) bench(ctx context.Context, b benchmark) (err error) {
	base, at := b.target, ""
	token, _ := c.getenv("MINTMARK_TOKEN")
	tokens := tokensOfBench{asked: token, asker: token}
	if base == "" || token == "" {
		l, err := c.connect(ctx)
		if err != nil {
			return err
		}
		if base == "" {
			if base, at, err = onLoopback(ctx, l); err != nil {
				return err
			}
		}
		if token == "" {
			if tokens, err = b.issue(ctx, l); err != nil {
				return errors.Join(err, c.forget(ctx, l, tokens))
			}
			defer func() { err = errors.Join(err, c.forget(ctx, l, tokens)) }()
		}
	}
	q, _ := b.question(base, tokens)
	if u, _ := url.Parse(b.target); u != nil && strings.Trim(u.Path, "/") != "" {
		q = question{method: "GET", url: b.target, bearer: tokens.asked}
	}
	load := newLoad(q, at, b.connections)
	defer load.Close()
	if err := load.try(ctx); err != nil {
		return err
	}
	found := load.run(ctx, b.duration, c.benchProgress(b.duration))
	if err := c.printBench(q, b, found); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return fail(exitInterrupted, "interrupted", "Interrupted after %s.", found.took.Round(time.Second))
	case found.failed > 0:
		return fail(exitFailed, "bench.refused", "%d of %d requests were not answered with 200", found.failed, found.failed+found.answered)
	}
	return nil
}

// onLoopback is the server's address for clients, and where it is on loopback.
func onLoopback(ctx context.Context, l *link) (base, at string, err error) {
	s, err := l.Status(ctx)
	if err != nil {
		return "", "", err
	}
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return "", "", err
	}
	a, err := netip.ParseAddr(host)
	switch {
	case host == "localhost", err == nil && a.IsLoopback():
		return s.URL, s.Listen, nil
	case unspecified(host):
		return s.URL, net.JoinHostPort("localhost", port), nil
	}
	return "", "", fail(exitUsage, "bench.elsewhere", "the server listens at %s, not on loopback", s.Listen).advise("measure it on purpose with --target " + s.URL)
}

// issue makes the tokens that are asked with; what was made is told also when
// something failed.
func (b benchmark) issue(ctx context.Context, l *link) (t tokensOfBench, err error) {
	one := func(role string) (string, error) {
		made, err := l.CreateToken(ctx, api.CreateToken{ClientID: "mintmark-bench", Role: role, Lifetime: "2h", Description: "made by bench, which deletes it"}, "")
		if err == nil {
			t.made = append(t.made, made.Token)
		}
		return made.Text.Unsafe(), err
	}
	if t.asked, err = one("user"); err == nil && b.door == "introspect" {
		t.asker, err = one("verifier")
	}
	return t, err
}

// forget deletes for good what was made, also after Ctrl-C.
func (c *cli) forget(ctx context.Context, l *link, t tokensOfBench) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.flags.timeout)
	defer cancel()
	var err error
	for _, made := range t.made {
		err = errors.Join(err, l.DeleteToken(ctx, made.ID, true))
	}
	return err
}

// benchProgress tells a person at a terminal every second how it goes.
func (c *cli) benchProgress(whole time.Duration) func(since time.Duration, answered uint64) {
	if c.flags.quiet || !terminal(c.err) {
		return func(time.Duration, uint64) {}
	}
	var before uint64
	return func(since time.Duration, answered uint64) {
		fmt.Fprintln(c.err, c.paint(c.err, dim, fmt.Sprintf("%s of %s: %d/s", since.Round(time.Second), whole, answered-before)))
		before = answered
	}
}

// benchFigures is the outcome for programs. Times are microseconds.
type benchFigures struct {
	URL         string  `json:"url"`
	Connections int     `json:"connections"`
	Seconds     float64 `json:"seconds"`
	Requests    uint64  `json:"requests"`
	Failed      uint64  `json:"failed"`
	Rate        float64 `json:"requests_per_second"`
	P50         int64   `json:"p50_us"`
	P90         int64   `json:"p90_us"`
	P99         int64   `json:"p99_us"`
	P999        int64   `json:"p999_us"`
	Slowest     int64   `json:"slowest_us"`
}

func (c *cli) printBench(q question, b benchmark, f loaded) error {
	us := func(share float64) int64 { return f.times.at(share).Microseconds() }
	figures := benchFigures{
		URL: q.url, Connections: b.connections, Seconds: f.took.Seconds(), Requests: f.answered + f.failed, Failed: f.failed,
		Rate: float64(f.answered) / f.took.Seconds(), P50: us(0.5), P90: us(0.9), P99: us(0.99), P999: us(0.999), Slowest: us(1),
	}
	ms := func(us int64) string { return fmt.Sprintf("%.2f ms", float64(us)/1000) }
	return c.one("Bench", figures, [][]string{
		{"asked", q.method + " " + q.url},
		{"load", fmt.Sprintf("%d connections for %s", b.connections, f.took.Round(100*time.Millisecond))},
		{"answers", fmt.Sprintf("%d, %d others", f.answered, f.failed)},
		{"rate", fmt.Sprintf("%.0f/s", figures.Rate)},
		{"times", fmt.Sprintf("half within %s, 90%% %s, 99%% %s, 99.9%% %s, slowest %s", ms(figures.P50), ms(figures.P90), ms(figures.P99), ms(figures.P999), ms(figures.Slowest))},
	})
}
