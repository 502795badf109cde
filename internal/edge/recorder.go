package edge

import (
	"fmt"
	"net/http"
	"runtime/debug"
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

// fail answers 500 after a panic. An answer that has begun cannot be taken back:
// what fail returns then breaks the connection, so that nobody takes it for
// whole.
func (r *recorder) fail() any {
	if r.status != 0 {
		return http.ErrAbortHandler
	}
	r.Header().Set("Cache-Control", "no-store")
	http.Error(r, "internal error", http.StatusInternalServerError)
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
