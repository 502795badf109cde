package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const shippedMetrics = "127.0.0.1:9464"

// ofPrometheus answers the path of a program of Debian's package. One that is
// missing fails where CI is set.
func ofPrometheus(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	missing := name + " IS NOT INSTALLED, deploy/prometheus was not tested; on Debian: apt-get install prometheus"
	if os.Getenv("CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// promtool runs it in a folder, with input.
func promtool(t *testing.T, dir, input string, args ...string) string {
	t.Helper()
	command := exec.Command(ofPrometheus(t, "promtool"), args...)
	command.Dir, command.Stdin = dir, strings.NewReader(input)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// scraped copies the shipped files into a folder, with the address of this run
// and so short an interval that a test need not wait.
func scraped(t *testing.T, address string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"scrape.yml", "alerts.yml"} {
		text := read(t, filepath.Join("..", "deploy", "prometheus", name))
		if name == "scrape.yml" {
			if !strings.Contains(text, shippedMetrics) || !strings.Contains(text, "_interval: 15s") {
				t.Fatalf("%s has neither %s nor an interval of 15s", name, shippedMetrics)
			}
			text = strings.ReplaceAll(strings.ReplaceAll(text, shippedMetrics, address), "_interval: 15s", "_interval: 1s")
		}
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

// watched is a running home with metrics at an address of their own.
func watched(t *testing.T) (h home, address string) {
	t.Helper()
	h, address = startHome(t), freeAddress(t)
	h.configure(t, "metrics.listen", address)
	h.manager(t, "restart")
	return h, address
}

// verify asks forward-auth, and answers a name of the answer.
func (h home) verify(t *testing.T, token string) answer {
	t.Helper()
	r := request{url: h.url + "/auth/verify"}
	if token != "" {
		r.authorization = "Bearer " + token
	}
	return call(t, r)
}

func TestTheShippedAlertsFireWhenTheyShouldAndOnlyThen(t *testing.T) {
	dir := scraped(t, "127.0.0.1:1")
	promtool(t, dir, "", "check", "config", "scrape.yml")
	write(t, filepath.Join(dir, "alerts_test.yml"), read(t, filepath.Join("testdata", "prometheus", "alerts_test.yml")))
	promtool(t, dir, "", "test", "rules", "alerts_test.yml")
	for alert := range everyMatch(`- alert: (\w+)`, read(t, filepath.Join(dir, "alerts.yml"))) {
		if !strings.Contains(read(t, filepath.Join("..", "docs", "observability.md")), alert) {
			t.Errorf("docs/observability.md does not tell what to do about %s", alert)
		}
	}
}

func everyMatch(pattern, text string) map[string]bool {
	found := make(map[string]bool)
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return found
}

// dashboardQueries are the PromQL of the shipped dashboard, with Grafana's own
// variables as it would replace them.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
			GridPos struct{ X, Y, W, H int }
		}
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join("..", "deploy", "grafana", "dashboard.json"))), &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		if p.Title == "" || len(p.Targets) == 0 || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %+v", p)
		}
		for _, target := range p.Targets {
			queries = append(queries, strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*").Replace(target.Expr))
		}
	}
	return queries
}

func TestWhatIsShownToPeopleIsThereAndWellFormed(t *testing.T) {
	h, address := watched(t)
	token := h.token(t, "etl", "user")
	for _, c := range []struct {
		token string
		want  int
	}{{token, 200}, {token, 200}, {token[:len(token)-4], 401}, {"", 401}} {
		if got := h.verify(t, c.token); got.status != c.want {
			t.Errorf("%d, want %d", got.status, c.want)
		}
	}
	text := call(t, request{url: "http://" + address + "/metrics"}).body
	promtool(t, ".", text, "check", "metrics")
	for _, want := range []string{
		`mintmark_verdicts_total{class="allow",door="forward_auth",key="` + keyName(t, text) + `",reason="ok"} 2`,
		`mintmark_verdicts_total{class="missing",door="forward_auth",key="",reason="no_credential"} 1`,
		`mintmark_live_tokens 1`, `mintmark_ready 1`, `mintmark_store_info{kind="json",persistent="true"} 1`, `mintmark_store_writable 1`,
		`mintmark_events_total{action="token.created",outcome="ok"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("a scrape does not show %s", want)
		}
	}
	for _, secret := range []string{token, strings.Split(token, ".")[2], "etl", adminPassword} {
		if strings.Contains(text, secret) {
			t.Errorf("a scrape shows %.10s…", secret)
		}
	}
	queries := dashboardQueries(t)
	shown := strings.Join(queries, "\n") + read(t, filepath.Join("..", "deploy", "prometheus", "alerts.yml"))
	for name := range everyMatch(`(mintmark_[a-z_]+)`, shown) {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("%s is shown to people and does not exist", name)
		}
	}
	rules := "groups:\n  - name: dashboard\n    rules:\n"
	for i, q := range queries {
		rules += fmt.Sprintf("      - record: panel:query:%d\n        expr: %q\n", i, q)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "rules.yml"), rules)
	promtool(t, dir, "", "check", "rules", "rules.yml")
}

func keyName(t *testing.T, text string) string {
	t.Helper()
	m := regexp.MustCompile(`mintmark_key_info\{key="([^"]+)",state="current"\} 1`).FindStringSubmatch(text)
	if m == nil {
		t.Fatal("a scrape names no current key")
	}
	return m[1]
}

func TestMetricsAndProfilesAreOnTheirOwnListenerOnly(t *testing.T) {
	h, address := watched(t)
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
		if got := call(t, request{url: h.url + path}); got.status == http.StatusOK || strings.Contains(got.body, "mintmark_ready") {
			t.Errorf("%s is public: %d", path, got.status)
		}
	}
	for path, want := range map[string]int{"/metrics": 200, "/debug/pprof/": 200, "/debug/pprof/heap": 200, "/auth/verify": 404, "/api/v1/whoami": 404, "/": 404} {
		if got := call(t, request{url: "http://" + address + path}); got.status != want {
			t.Errorf("%s of metrics.listen: %d, want %d", path, got.status, want)
		}
	}
	if got := h.run(t, "config", "properties", "set", "metrics.listen", strings.TrimPrefix(h.url, "http://")); got.code == 0 {
		if got = h.run(t, "config", "apply"); got.code == 0 {
			t.Error("metrics can be made public")
		}
	}
}

func TestPrometheusScrapesWithTheShippedConfiguration(t *testing.T) {
	program := ofPrometheus(t, "prometheus")
	h, address := watched(t)
	if got := h.verify(t, h.token(t, "etl", "user")); got.status != http.StatusOK {
		t.Fatalf("%d", got.status)
	}
	listen := freeAddress(t)
	command := exec.Command(program, "--config.file=scrape.yml", "--storage.tsdb.path=data", "--web.listen-address="+listen, "--log.level=warn")
	command.Dir = scraped(t, address)
	var log strings.Builder
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	eventually(t, "Prometheus listens", home{url: "http://" + listen}.listens)
	eventually(t, "Prometheus is ready", func() bool { return call(t, request{url: "http://" + listen + "/-/ready"}).status == http.StatusOK })
	for query, want := range map[string]string{
		`up{job="mintmark"}`: "1",
		`sum(mintmark_verdicts_total{class="allow",door="forward_auth"})`: "1",
		`count(mintmark_build_info)`:                                      "1",
	} {
		eventually(t, query+" is "+want, func() bool { return slices.Equal(values(t, listen, query), []string{want}) })
	}
	if firing := values(t, listen, `ALERTS{alertstate="firing"}`); len(firing) > 0 {
		t.Errorf("%d alerts fire", len(firing))
	}
	for _, q := range dashboardQueries(t) {
		if call(t, request{url: "http://" + listen + "/api/v1/query?query=" + url.QueryEscape(q)}).status != http.StatusOK {
			t.Errorf("the dashboard asks what cannot be asked: %s", q)
		}
	}
}

// values are what Prometheus answers to a query.
func values(t *testing.T, address, query string) (found []string) {
	t.Helper()
	var got struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	body := call(t, request{url: "http://" + address + "/api/v1/query?query=" + url.QueryEscape(query)}).body
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, r := range got.Data.Result {
		found = append(found, fmt.Sprint(r.Value[1]))
	}
	return found
}

func TestALimitIsRefusedApartFromABadToken(t *testing.T) {
	h := startHome(t)
	users, callers, verifier := h.token(t, "etl", "user"), h.token(t, "ops", "admin"), h.token(t, "gate", "verifier")
	h.configure(t, "limits.token", "2/h")
	introspect := request{method: "POST", url: h.url + "/oauth2/introspect", authorization: "Bearer " + verifier, contentType: "application/x-www-form-urlencoded", body: "token=" + users}
	for name, c := range map[string]struct {
		r       request
		limited int
		code    string
	}{
		"forward-auth":  {request{url: h.url + "/auth/verify", authorization: "Bearer " + users}, http.StatusForbidden, "rate.limited"},
		"our own API":   {request{url: h.url + "/api/v1/whoami", authorization: "Bearer " + callers}, http.StatusTooManyRequests, "rate.limited"},
		"introspection": {introspect, http.StatusTooManyRequests, "too_many_requests"},
	} {
		for i, want := range []int{200, 200, c.limited} {
			got := call(t, c.r)
			if got.status != want {
				t.Errorf("%s, request %d: %d, want %d", name, i+1, got.status, want)
			}
			if want != http.StatusOK && (got.header.Get("Retry-After") == "" || !strings.Contains(got.body, c.code) || got.header.Get("Ratelimit-Policy") != `"mintmark";q=2;w=3600`) {
				t.Errorf("%s: %v %s", name, got.header, got.body)
			}
		}
	}
	if got := h.verify(t, users[:len(users)-4]); got.status != http.StatusUnauthorized || got.header.Get("Retry-After") != "" {
		t.Errorf("a bad token: %d", got.status)
	}
	h.manager(t, "config", "properties", "unset", "limits.token")
	h.manager(t, "config", "apply")
	if got := h.verify(t, users); got.status != http.StatusOK {
		t.Errorf("without the limit: %d", got.status)
	}
}

// limits holds a gateway to the limits of the door.
func (s *site) limits(t *testing.T, r running, status int) {
	token := s.issue(t, `{"client_id":"runaway","role":"user"}`)
	s.home.configure(t, "limits.token", "1/h")
	defer func() {
		s.home.manager(t, "config", "properties", "unset", "limits.token")
		s.home.manager(t, "config", "apply")
	}()
	s.admits(t, r, question{path: "/"}, token)
	got := r.ask(t, question{path: "/", token: token.Token})
	if got.status != status || status == http.StatusTooManyRequests && got.header.Get("Retry-After") == "" {
		t.Errorf("%d with Retry-After %q, want %d", got.status, got.header.Get("Retry-After"), status)
	}
	if took := s.api.took(); len(took) != 0 {
		t.Error("a request beyond the limit reached the API")
	}
}

func TestARequestIdGoesInFromAConfiguredProxyAndOut(t *testing.T) {
	h := startHome(t)
	ask := func() string {
		return call(t, request{url: h.url + "/auth/verify", header: http.Header{"X-Request-Id": {"4f2a9c1e-77aa"}}}).header.Get("X-Request-Id")
	}
	first, second := ask(), ask()
	if pattern := regexp.MustCompile(`^[0-9a-f]{16}$`); !pattern.MatchString(first) || !pattern.MatchString(second) || first == second {
		t.Errorf("ids of our own: %q, %q", first, second)
	}
	h.configure(t, "server.trusted_proxies", "127.0.0.1")
	if diff := cmp.Diff("4f2a9c1e-77aa", ask()); diff != "" {
		t.Errorf("a proxy's id (-want +got):\n%s", diff)
	}
}

// Whoever logs: the rooms that are made first and those that are made last.
func TestEveryLineOfAJSONLogIsJSON(t *testing.T) {
	h := startHome(t)
	h.manager(t, "stop")
	s := h.serveSoon(t, "MINTMARK_LOG_FORMAT=json", "MINTMARK_LOG_LEVEL=debug")
	eventually(t, "the server is ready", func() bool { return strings.Contains(s.said(), `"msg":"ready"`) })
	h.verify(t, "x")
	call(t, request{method: "POST", url: h.url + "/api/v1/signIn", contentType: "application/json", body: `{"username":"admin","password":"wrong"}`})
	s.signal(os.Interrupt)
	s.ends()
	lines := strings.Split(strings.TrimSpace(s.said()), "\n")
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("logged %s", line)
		}
	}
	if len(lines) < 4 {
		t.Errorf("%d lines", len(lines))
	}
}

func TestTracesAreSwitchedOnByTheEnvironment(t *testing.T) {
	h := startHome(t)
	h.manager(t, "stop")
	collector := newCollector(t)
	s := h.serve(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_BSP_SCHEDULE_DELAY=50")
	if got := h.verify(t, "eyJsecret"); got.status != http.StatusUnauthorized {
		t.Fatalf("%d", got.status)
	}
	eventually(t, "a span arrives", func() bool { return strings.Contains(collector.received(), "/auth/verify") })
	s.signal(os.Interrupt)
	s.ends()
	if strings.Contains(collector.received(), "eyJsecret") {
		t.Error("a span holds what was sent")
	}
	wrong := h.serveSoon(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
	select {
	case <-wrong.ended:
		if !strings.Contains(wrong.said(), "http/protobuf") {
			t.Errorf("it says %s", wrong.said())
		}
	case <-time.After(stepTimeout):
		t.Error("it started with a protocol that it does not speak")
	}
}
