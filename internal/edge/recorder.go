package edge

import (
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
)

// recorder remembers the status and size of an answer for the log line.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the real writer.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

// fail answers 500 after a panic: a problem document (RFC 9457), or a line of
// text to whoever asked for a page. An answer that has begun cannot be taken
// back: what fail returns then breaks the connection, so that nobody takes it
// for whole.
func (r *recorder) fail(asked *http.Request, requestID string) any {
	if r.status != 0 {
		return http.ErrAbortHandler
	}
	clear(r.Header()) // whatever the handler meant to say is void
	r.Header().Set("Connection", "close")
	r.Header().Set("X-Request-Id", requestID)
	r.Header().Set("X-Content-Type-Options", "nosniff")
	r.Header().Set("Cache-Control", "no-store")
	text, media := "Internal Server Error, request "+requestID+"\n", "text/plain; charset=utf-8"
	if !strings.Contains(asked.Header.Get("Accept"), "text/html") {
		media = "application/problem+json"
		text = fmt.Sprintf(`{"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal","request_id":%q}`+"\n", requestID)
	}
	r.Header().Set("Content-Type", media)
	r.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(r, text) // whoever left does not read it
	return nil
}

func typeName(v any) string { return fmt.Sprintf("%T", v) }

func stack() string { return string(debug.Stack()) }

// safeMethod keeps an odd method from filling the log.
func safeMethod(m string) string {
	if len(m) > 16 {
		return m[:16]
	}
	return m
}
