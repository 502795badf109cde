package edge_test

import (
	"testing"

	"mintmark/internal/authority"
	"mintmark/internal/edge"
)

func TestEveryKindOfFailureHasItsStatus(t *testing.T) {
	t.Parallel()
	for kind, want := range map[authority.Kind]int{
		authority.Internal: 500, authority.Invalid: 400, authority.Unauthenticated: 401, authority.Forbidden: 403, authority.StepUp: 403,
		authority.NotFound: 404, authority.Conflict: 409, authority.Throttled: 429, authority.Unavailable: 503, authority.Full: 507,
		authority.Kind(99): 500,
	} {
		if got := edge.StatusOf(kind); got != want {
			t.Errorf("kind %d: %d, want %d", kind, got, want)
		}
	}
}
