// Command mintmark is the authority: its server, and the commands with which
// people run it. Inside an installation directory the same binary is manager.
//
// This room wires the others. It is the only one that reads the environment and
// flags, names stores, takes the clock and randomness, and starts what lives as
// long as the process.
//
// The one hard idea: every command speaks the HTTP API. To a running server it
// goes over the home's socket; when the server is stopped the same handler is
// called in this process, under the home's lock. So there is one set of rules,
// one set of errors and one set of outputs.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	os.Exit(run())
}

// run answers the exit code; see exit.go for what each means.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first Ctrl-C asks; a second one ends the process at once. SIGTERM keeps
	// asking: two stops in a row must not cut a draining server off.
	context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt) })
	c := &cli{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.LookupEnv,
		program: filepath.Base(os.Args[0]), called: quoted(os.Args[0]),
	}
	if c.program != "manager" {
		c.program = "mintmark"
	}
	return c.main(ctx, os.Args[1:])
}
