package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// survives breaks nodes while verdicts are asked for and holds that no client
// notices, and then all of them, and holds that nothing is allowed.
func (b *balanced) survives(t *testing.T, method, path string) {
	down := func(n *stubNode) { n.down() }
	does := func(c conduct) func(*stubNode) {
		return func(n *stubNode) { n.does.Store(int32(c)) }
	}
	for name, c := range map[string]struct {
		breaks func(*stubNode)
		count  int
	}{
		"one is killed":          {down, 1},
		"two are killed":         {down, 2},
		"one does not know":      {does(unknown), 1},
		"two do not know":        {does(unknown), 2},
		"one hangs up":           {does(hangsUp), 1},
		"one is silent":          {does(silent), 1},
		"all are killed":         {down, 3},
		"none of them knows":     {does(unknown), 3},
		"all of them are silent": {does(silent), 3},
	} {
		t.Run(name, func(t *testing.T) {
			b.back(t, method, path)
			stop := b.keepAsking(t, method, path)
			for _, n := range b.nodes[:c.count] {
				c.breaks(n)
			}
			if c.count == len(b.nodes) {
				stop()
				for range 5 {
					if status, _ := b.ask(t, method, path); status < 500 {
						t.Errorf("nobody knows, and the answer is %d", status)
					}
				}
				b.mend(t)
				began := time.Now()
				eventually(t, "verdicts are answered again", func() bool {
					status, _ := b.ask(t, method, path)
					return status == http.StatusOK
				})
				if took := time.Since(began); took > 4*time.Second {
					t.Errorf("after the nodes were back it took %s", took)
				}
				return
			}
			time.Sleep(2500 * time.Millisecond) // longer than a node is left out: it is tried again
			if asked, failed := stop(); asked < 20 || len(failed) > 0 {
				t.Errorf("of %d verdicts %d failed: %v", asked, len(failed), failed[:min(9, len(failed))])
			}
		})
	}
}

func TestABalancedFleetAnswersWhileOneNodeDoes(t *testing.T) {
	t.Parallel()
	entrance := freeAddress(t)
	b := balance(t, "balancer.conf", entrance, "listen 443", "listen "+entrance)
	b.url = "https://" + entrance
	b.survives(t, http.MethodGet, "/auth/verify")
	t.Run("introspection, which is a POST", func(t *testing.T) {
		b.back(t, http.MethodGet, "/auth/verify")
		b.nodes[0].does.Store(int32(hangsUp))
		for range 6 {
			if status, _ := b.ask(t, http.MethodPost, "/oauth2/introspect"); status != http.StatusOK {
				t.Errorf("answers %d", status)
			}
		}
	})
	t.Run("no verdict is kept", func(t *testing.T) {
		b.back(t, http.MethodGet, "/auth/verify")
		b.arrivals()
		for range 10 {
			b.ask(t, http.MethodGet, "/auth/verify")
			b.ask(t, http.MethodGet, "/api/v1/whoami")
		}
		if got := b.arrivals(); got != 20 {
			t.Errorf("of 20 questions %d were asked", got)
		}
	})
}

func TestABalancedFleetTakesNoChangeTwice(t *testing.T) {
	t.Parallel()
	entrance := freeAddress(t)
	b := balance(t, "balancer.conf", entrance, "listen 443", "listen "+entrance)
	b.url = "https://" + entrance
	_, first := b.ask(t, http.MethodGet, "/tokens")
	home := b.nodes[0]
	for _, n := range b.nodes {
		if n.address == first {
			home = n
		}
	}
	b.arrivals()
	for range 5 {
		if _, node := b.ask(t, http.MethodGet, "/tokens"); node != first {
			t.Errorf("a client of %s is answered by %s", first, node)
		}
	}
	for _, path := range []string{"/api/v1/tokens", "/api/v1/signIn", "/api/v1/keys/rotate", "/oauth2/revoke", "/tokens/new"} {
		for name, does := range map[string]conduct{"hangs up": hangsUp, "does not know": unknown} {
			home.does.Store(int32(does))
			b.arrivals()
			status, _ := b.ask(t, http.MethodPost, path)
			if got := b.arrivals(); got != 1 || status < 500 {
				t.Errorf("the node %s: POST %s answers %d and was sent %d times", name, path, status, got)
			}
			home.does.Store(int32(answers))
			eventually(t, "nginx comes back to the node", func() bool {
				_, node := b.ask(t, http.MethodGet, "/tokens")
				return node == first
			})
		}
	}
	home.down()
	b.arrivals()
	if status, node := b.ask(t, http.MethodPost, "/api/v1/tokens"); status != http.StatusOK || node == first || b.arrivals() != 1 {
		t.Errorf("a change that no node has seen answers %d from %q", status, node)
	}
}

func TestABalancerChangesNoPropertyOfOneNode(t *testing.T) {
	entrance := freeAddress(t)
	b := balance(t, "balancer.conf", entrance, "listen 443", "listen "+entrance)
	b.url = "https://" + entrance
	for _, path := range []string{"/api/v1/config", "/api/v1/config/properties/log.level", "/api/v1/config/apply", "/settings", "/settings/apply", "/%73ettings/apply", "/x/../settings/apply"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
			if status, _ := b.ask(t, method, path); status != http.StatusForbidden {
				t.Errorf("%s %s answers %d", method, path, status)
			}
		}
	}
	if got := b.arrivals(); got != 0 {
		t.Errorf("%d of them reached a node", got)
	}
	if status, _ := b.ask(t, http.MethodGet, "/settings"); status != http.StatusOK {
		t.Errorf("reading them answers %d", status)
	}

	// nginx repeats a PUT. Whatever is one must therefore be a property.
	var api struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal([]byte(read(t, "../api/openapi.json")), &api); err != nil {
		t.Fatal(err)
	}
	for path, methods := range api.Paths {
		if _, found := methods["put"]; found && path != "/auth/verify" && !strings.HasPrefix(path, "/api/v1/config") {
			t.Errorf("PUT %s would be repeated", path)
		}
	}
}

func TestAGatewayBeforeAFleetAsksTheNextNode(t *testing.T) {
	t.Parallel()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-Token-Id") == "" {
			t.Error("the API is called without a verdict")
		}
		_, _ = io.WriteString(w, "the API answers")
	}))
	t.Cleanup(api.Close)
	entrance := freeAddress(t)
	b := balance(t, "gateway.conf", entrance, shippedEntrance, entrance, shippedAPI, api.Listener.Addr().String())
	b.url = "http://" + entrance
	b.survives(t, http.MethodGet, "/")
	b.back(t, http.MethodGet, "/")
	b.arrivals()
	for range 10 {
		b.ask(t, http.MethodPost, "/same")
	}
	if got := b.arrivals(); got != 10 {
		t.Errorf("of 10 questions %d were asked", got)
	}
}

// What is tested of the gateway before one server holds for the one before a
// fleet as long as they are the same but for how nodes are asked.
func TestTheGatewayBeforeAFleetIsTheOneBeforeAServer(t *testing.T) {
	text := func(path string) (upstream, question, rest string) {
		all := read(t, filepath.Join("..", "deploy", path))
		_, all, _ = strings.Cut(all, "\nupstream mintmark {")
		upstream, all, _ = strings.Cut(all, "\n}\n")
		before, all, _ := strings.Cut(all, "location = /mintmark-verify {")
		question, all, found := strings.Cut(all, "\n\t}\n")
		if !found {
			t.Fatalf("%s has another form", path)
		}
		return upstream, question, before + all
	}
	_, one, rest := text("nginx/mintmark.conf")
	_, many, restOfMany := text("fleet/nginx/gateway.conf")
	if rest != restOfMany {
		t.Error("they differ outside of the upstream and the question")
	}
	for _, line := range strings.Split(one, "\n") {
		if strings.Contains(line, "proxy_pass_") || strings.Contains(line, "proxy_set_header") || strings.Contains(line, "internal;") {
			if !strings.Contains(many, "\n"+line+"\n") {
				t.Errorf("the question of the fleet lacks %q", line)
			}
		}
	}
}
