package edge

import (
	"net/http"
	"strconv"
	"time"

	"mintmark/internal/liveset"
)

// TellQuota tells a client what a limit leaves it: RateLimit-Policy and RateLimit
// (draft-ietf-httpapi-ratelimit-headers-10), and Retry-After (RFC 9110 section
// 10.2.3) when nothing is left. Times are whole seconds, rounded up.
func TellQuota(h http.Header, q *liveset.Quota) {
	if q == nil {
		return
	}
	h.Set("RateLimit-Policy", `"mintmark";q=`+strconv.Itoa(q.Limit)+";w="+seconds(q.Window))
	h.Set("RateLimit", `"mintmark";r=`+strconv.Itoa(q.Remaining)+";t="+seconds(q.Wait))
	if q.Remaining == 0 && q.Wait > 0 {
		h.Set("Retry-After", seconds(max(q.Wait, time.Second)))
	}
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
