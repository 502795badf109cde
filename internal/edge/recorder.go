package edge

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"mintmark/internal/liveset"
)

// exchange is one request and its answer, as far as the edge tells of them.
type exchange struct {
	http.ResponseWriter
	in      Inbound
	id      [1]string // the values of X-Request-Id
	start   time.Time
	status  int
	bytes   int64
	door    string         // the path of the Door that answers, else ""
	verdict liveset.Reason // Undecided: nobody asked for one
	level   slog.Level     // of the log line
}

// route is the pattern that matched. The path itself is never told: people
// paste tokens into address bars.
func (x *exchange) route(r *http.Request) string {
	switch {
	case x.door != "":
		return x.door
	case r.Pattern == "":
		return "none"
	}
	return r.Pattern
}

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= http.StatusOK {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	n, err := x.ResponseWriter.Write(b)
	x.bytes += int64(n)
	return n, err
}

// Hijack hands the connection over, to another protocol.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	x.status = http.StatusSwitchingProtocols
	return http.NewResponseController(x.ResponseWriter).Hijack()
}

// Unwrap lets http.ResponseController reach the real writer.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) code() int {
	if x.status == 0 {
		return http.StatusOK
	}
	return x.status
}

// fail answers 500 after a panic: a problem document (RFC 9457), or a line of
// text to whoever asked for a page. An answer that has begun cannot be taken
// back: what fail returns then breaks the connection, so that nobody takes it
// for whole.
func (x *exchange) fail(asked *http.Request) any {
	if x.status != 0 {
		return http.ErrAbortHandler
	}
	clear(x.Header()) // whatever the handler meant to say is void
	x.Header().Set("Connection", "close")
	x.Header().Set("X-Request-Id", x.in.RequestID)
	x.Header().Set("X-Content-Type-Options", "nosniff")
	x.Header().Set("Cache-Control", "no-store")
	text, media := "Internal Server Error, request "+x.in.RequestID+"\n", "text/plain; charset=utf-8"
	if !strings.Contains(asked.Header.Get("Accept"), "text/html") {
		media = "application/problem+json"
		text = fmt.Sprintf(`{"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal","request_id":%q}`+"\n", x.in.RequestID)
	}
	x.Header().Set("Content-Type", media)
	x.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(x, text) // whoever left does not read it
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
