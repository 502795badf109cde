package main

import (
	"testing"

	"mintmark/api"
)

func TestAServerThatMovesIsNamedWhereItIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ server, before, listen, url, want string }{
		"another port":                {"http://127.0.0.1:3000", "", "127.0.0.1:4000", "http://127.0.0.1:4000", "http://127.0.0.1:4000"},
		"another address":             {"http://10.0.0.1:3000/", "10.0.0.1:3000", "10.0.0.2:3000", "http://10.0.0.2:3000", "http://10.0.0.2:3000/"},
		"all addresses keep the name": {"http://vm.example:3000", "10.0.0.1:3000", "0.0.0.0:4000", "http://localhost:4000", "http://vm.example:4000"},
		"TLS comes":                   {"http://vm.example:3000", "[::]:3000", "[::]:3000", "https://localhost:3000", "https://vm.example:3000"},
		"TLS goes":                    {"https://[2001:db8::7]:3000", "[2001:db8::7]:3000", "[2001:db8::7]:3000", "http://[2001:db8::7]:3000", "http://[2001:db8::7]:3000"},
		"a proxy is between":          {"https://vm.example", "127.0.0.1:3000", "127.0.0.1:4000", "http://127.0.0.1:4000", "https://vm.example"},
		"where it is says nothing":    {"http://127.0.0.1:3000", "", "\x1b]", "\x1b]", "http://127.0.0.1:3000"},
	} {
		if got := moved(c.server, c.before, api.Status{Listen: c.listen, URL: c.url}); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
