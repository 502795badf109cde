package control

import (
	"fmt"
	"slices"
	"strings"

	"mintmark/internal/authority"
)

// lagging is how far behind the newest revision a node may be for a moment.
const lagging = 1000

// fleetCheck tells how the nodes stand that share the store; none when it is
// this process's own.
func fleetCheck(f authority.FleetState) []Check {
	if len(f.Nodes) == 0 {
		return nil
	}
	var odd []string
	issuers, versions := map[string]bool{}, map[string]bool{}
	alive := f.Alive()
	for _, n := range alive {
		issuers[n.Issuer], versions[n.Version] = true, true
		switch {
		case !n.Ready:
			odd = append(odd, n.Name+" is not ready")
		case f.Revision > n.Revision+lagging:
			odd = append(odd, fmt.Sprintf("%s is %d revisions behind", n.Name, f.Revision-n.Revision))
		}
	}
	check := Check{Name: "fleet", OK: true, Fact: fmt.Sprintf("%d nodes, revision %d", len(alive), f.Revision)}
	if len(issuers) > 1 {
		odd = append(odd, "the nodes name different issuers: "+list(issuers))
		check.Fix = "Set jwt.issuer and jwt.audience alike on every node."
	}
	if len(versions) > 1 {
		odd = append(odd, "the nodes have different versions: "+list(versions))
	}
	if len(odd) > 0 {
		check.Warning, check.Fact = true, check.Fact+"; "+strings.Join(odd, "; ")
		if check.Fix == "" {
			check.Fix = "Look at the log of that node; while an upgrade is under way this passes."
		}
	}
	return []Check{check}
}

func list(set map[string]bool) string {
	var all []string
	for s := range set {
		all = append(all, s)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
