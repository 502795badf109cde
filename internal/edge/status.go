package edge

import (
	"net/http"

	"mintmark/internal/authority"
)

// StatusOf is the HTTP status of a failure of the rules, the same at every edge.
func StatusOf(k authority.Kind) int {
	switch k {
	case authority.Invalid:
		return http.StatusBadRequest
	case authority.Unauthenticated:
		return http.StatusUnauthorized
	case authority.Forbidden, authority.StepUp:
		return http.StatusForbidden
	case authority.NotFound:
		return http.StatusNotFound
	case authority.Conflict:
		return http.StatusConflict
	case authority.Throttled:
		return http.StatusTooManyRequests
	case authority.Unavailable:
		return http.StatusServiceUnavailable
	case authority.Full:
		return http.StatusInsufficientStorage
	case authority.Internal:
	}
	return http.StatusInternalServerError
}
