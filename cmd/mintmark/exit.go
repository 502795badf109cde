package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"

	"mintmark/api"
	"mintmark/internal/authority"
	"mintmark/internal/durable"
	"mintmark/internal/edge"
	"mintmark/internal/home"
)

// The exit codes. For status, 1, 3 and 4 have the meaning of LSB.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotRunning  = 3
	exitNotAllowed  = 4
	exitNotFound    = 5
	exitConflict    = 6
	exitInvalid     = 7
	exitConfirm     = 8
	exitUnavailable = 9
	exitAttention   = 10
	exitInterrupted = 130
)

// failure is an error with its exit code, a stable code for scripts and what to
// do about it.
type failure struct {
	exit      int
	code      string
	message   string
	hint      string
	requestID string
	asked     bool // it is what the person wanted, so it is no error to read about
}

func (f *failure) Error() string { return f.message }

func fail(exit int, code, format string, args ...any) *failure {
	return &failure{exit: exit, code: code, message: fmt.Sprintf(format, args...)}
}

func (f *failure) advise(hint string) *failure {
	f.hint = hint
	return f
}

// unchanged ends a command that a person did not go on with.
func unchanged(exit int, code string) *failure {
	return &failure{exit: exit, code: code, message: "Nothing was changed.", asked: true}
}

// errAttention is an answer "yes, look at this" that is no failure.
var errAttention = errors.New("attention needed")

// errHalfWay says that a change was asked for and its answer did not come.
var errHalfWay = errors.New("the change may have been made: see audit list")

// classify turns any error into a failure.
func classify(err error) *failure {
	var f *failure
	var refused *api.Error
	var domain *authority.Error
	var locked *durable.LockedError
	var start *home.StartError
	switch {
	case errors.As(err, &f):
		if f.hint == "" {
			f.hint = remedies()[f.code]
		}
		return f
	case errors.Is(err, errHalfWay) && errors.Is(err, context.Canceled):
		return fail(exitInterrupted, "interrupted", "Interrupted. %s", errHalfWay)
	case errors.Is(err, context.Canceled):
		return unchanged(exitInterrupted, "interrupted")
	case errors.Is(err, api.ErrForeign), errors.As(err, &refused) && refused.Code == "":
		return fail(exitUnavailable, "server.unreachable", "%s", err).advise("is that Mintmark's address, and http or https as it has it?")
	case errors.As(err, &refused):
		f = fail(exitOf(refused.Status), refused.Code, "%s", whatIsWrong(refused))
		f.requestID = refused.RequestID
		if f.code == "config.invalid" && len(refused.Fields) == 1 {
			return f.advise("see what it takes: manager config properties get " + refused.Fields[0].Field)
		}
		return f.advise(remedies()[f.code])
	case errors.As(err, &domain):
		return fail(exitOf(edge.StatusOf(domain.Kind)), domain.Code, "%s", err).advise(remedies()[domain.Code])
	case errors.As(err, &locked):
		return fail(exitConflict, "home.locked", "%s is in use by another process%s; one server or command at a time", filepath.Dir(locked.Path), pidOf(locked.PID)).
			advise("see whether its server runs: manager status; end it: manager stop")
	case errors.As(err, &start):
		return fail(exitFailed, "server.start", "%s", err)
	case errors.Is(err, home.ErrExists):
		return fail(exitConflict, "home.exists", "%s", err)
	case errors.Is(err, home.ErrNone):
		return fail(exitNotFound, "home.none", "%s", err)
	case errors.Is(err, fs.ErrPermission):
		return fail(exitNotAllowed, "permission", "%s", err).advise("run this as the user of the service")
	case errors.Is(err, context.DeadlineExceeded):
		return late(err)
	}
	if f = unreached(err); f != nil {
		return f
	}
	return fail(exitFailed, "failed", "%s", err)
}

// late says that there was no more time, and for what if that is known.
func late(err error) *failure {
	f := fail(exitUnavailable, "timeout", "there was no answer in time").advise("give it longer: --timeout 2m")
	if strings.Contains(err.Error(), errHalfWay.Error()) { // net/http makes a text of what it wraps
		f.message += "; " + errHalfWay.Error()
	} else if what, _, cut := strings.Cut(err.Error(), ": "+context.DeadlineExceeded.Error()); cut && what != "calling the server" {
		f.message += ": " + what
	}
	return f
}

// unreached says why no server was reached; nil when it is not that.
func unreached(err error) *failure {
	var network *net.OpError
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	isNetwork := errors.As(err, &network)
	switch text := err.Error(); {
	case errors.As(err, &name):
		return fail(exitUnavailable, "server.unreachable", "no address is known of %s", name.Name)
	case errors.Is(err, syscall.ECONNREFUSED) && isNetwork && network.Addr != nil:
		return fail(exitUnavailable, "server.unreachable", "nothing listens at %s", network.Addr).advise("does the server run, and is that its address?")
	case errors.As(err, &certificate):
		return fail(exitUnavailable, "server.unreachable", "the server's certificate is not trusted: %s", certificate.Err)
	case strings.Contains(text, "server gave HTTP response to HTTPS client"): // net/http has no type for it
		return fail(exitUnavailable, "server.unreachable", "the server has no TLS").advise("its address begins with http://")
	case errors.Is(err, errHalfWay):
		return fail(exitUnavailable, "server.unreachable", "the connection broke before the answer came; %s", errHalfWay)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fail(exitUnavailable, "server.unreachable", "the connection broke before the answer came").advise("does the server run, and is that its address?")
	case isNetwork:
		return fail(exitUnavailable, "server.unreachable", "%s", err)
	}
	return nil
}

// remedies are the commands that help where a refusal of the API cannot name one:
// it does not know who asks. docs/troubleshooting.md has more.
func remedies() map[string]string {
	return map[string]string{
		"token.not_found":    "see which there are: manager token list, and manager token list --state deleted",
		"token.ambiguous":    "see their ids: manager token list",
		"token.expired":      "make a new one: manager token create",
		"token.revoked":      "make a new one: manager token create",
		"key.not_found":      "see which there are: manager key list",
		"key.rotating":       "see who still needs the previous one: manager key evidence; end it: manager key retire",
		"admin.not_found":    "see who there is: manager admin list",
		"admin.last":         "make another one: manager admin create NAME",
		"admin.exists":       "give it another password: manager admin reset-password NAME",
		"config.revision":    "see what would change now: manager config diff",
		"config.no_revision": "see which there were: manager audit list --action config.applied",
		"config.on_trial":    "keep it: manager config confirm; go back now: manager config revert",
		"config.no_trial":    "see what became of it: manager audit list --action config.",
		"property.unknown":   "see which there are: manager config properties list",
		"store.unknown":      "see whether it was made: manager audit list",
		"unavailable":        "see whether it was made: manager audit list",
	}
}

func pidOf(pid int) string {
	if pid == 0 {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", pid)
}

func exitOf(status int) int {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return exitInvalid
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitNotAllowed
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusConflict:
		return exitConflict
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInsufficientStorage, http.StatusBadGateway, http.StatusGatewayTimeout:
		return exitUnavailable
	}
	return exitFailed
}

// failed is the document of a failure, on the error output.
type failed struct {
	Error refusal `json:"error"`
}

// refusal says why; Hint is what to do about it.
type refusal struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Hint      string `json:"hint,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

// report prints a failure on the error output and answers its exit code.
func (c *cli) report(err error) int {
	if errors.Is(err, errAttention) {
		return exitAttention
	}
	f := classify(err)
	f.message, f.hint = c.told(f.message), c.told(f.hint)
	if c.asJSON() {
		line, _ := json.Marshal(failed{refusal{f.code, f.message, f.hint, f.requestID}}) // strings only
		fmt.Fprintln(c.err, escape(string(line)))
		return f.exit
	}
	if f.asked {
		fmt.Fprintln(c.err, f.message)
		return f.exit
	}
	fmt.Fprintf(c.err, "%s: %s\n", c.paint(c.err, red, "error"), clean(f.message))
	if f.requestID != "" && c.flags.server != "" {
		fmt.Fprintln(c.err, c.paint(c.err, dim, "  request "+clean(f.requestID)))
	}
	if f.hint != "" {
		fmt.Fprintf(c.err, "  %s\n", clean(f.hint))
	}
	return f.exit
}
