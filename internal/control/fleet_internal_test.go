package control

import (
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
)

func TestTheCheckOfAFleetNamesWhatIsOdd(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	node := func(name string, change func(*authority.Node)) authority.Node {
		n := authority.Node{ID: name, Name: name, Version: "v1", Issuer: "https://i.example", SeenAt: now, Revision: 5000, Ready: true}
		if change != nil {
			change(&n)
		}
		return n
	}
	if got := fleetCheck(authority.FleetState{}); got != nil {
		t.Errorf("without a fleet: %+v", got)
	}
	for name, c := range map[string]struct {
		second func(*authority.Node)
		says   string
		warns  bool
	}{
		"all is well":        {nil, "2 nodes, revision 5000", false},
		"one is silent":      {func(n *authority.Node) { n.SeenAt = now.Add(-time.Minute); n.Ready = false }, "1 nodes", false},
		"one is not ready":   {func(n *authority.Node) { n.Ready = false }, "two is not ready", true},
		"one is behind":      {func(n *authority.Node) { n.Revision = 3999 }, "two is 1001 revisions behind", true},
		"one is a bit later": {func(n *authority.Node) { n.Revision = 4999 }, "revision 5000", false},
		"another issuer":     {func(n *authority.Node) { n.Issuer = "https://j.example" }, "different issuers: https://i.example, https://j.example", true},
		"another version":    {func(n *authority.Node) { n.Version = "v2" }, "different versions: v1, v2", true},
	} {
		f := authority.FleetState{Nodes: []authority.Node{node("one", nil), node("two", c.second)}, Revision: 5000, Now: now}
		got := fleetCheck(f)
		if len(got) != 1 || !got[0].OK || got[0].Warning != c.warns || !strings.Contains(got[0].Fact, c.says) || c.warns == (got[0].Fix == "") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
