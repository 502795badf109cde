package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/home"
	"mintmark/internal/webui"
)

func (c *cli) serveCommand() *cobra.Command {
	var listen, upstream string
	cmd := local(&cobra.Command{
		Use: "serve", Short: "Run the server in the foreground", Args: exactly(0, 0),
		Long: "It runs until it is told to stop: SIGTERM or Ctrl-C lets requests under way finish, a second Ctrl-C does not.\n" +
			"SIGHUP is ignored without a terminal; properties that are applied and TLS files that change are taken without it.\n" +
			"Without an installation directory tokens are kept in memory.",
		Example: c.example("manager serve --listen 127.0.0.1:3000", "manager serve --home /opt/mintmark"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := map[string]string{}
			if listen != "" {
				flags[config.Listen] = listen
			}
			if upstream != "" {
				flags[config.GuardUpstream] = upstream
			}
			return c.serve(cmd.Context(), flags)
		},
	})
	cmd.Flags().StringVar(&listen, "listen", "", "the address and port to listen on")
	cmd.Flags().StringVar(&upstream, "guard-upstream", "", "an API that is guarded at guard.listen")
	return cmd
}

// serve runs until ctx ends and everything has drained.
func (c *cli) serve(ctx context.Context, flags map[string]string) error {
	if terminal(c.in) {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal is gone: nobody could end it any more
		defer stop()
	} else {
		signal.Ignore(syscall.SIGHUP)
	}
	dir, err := c.dirOrMemory()
	if err != nil {
		return err
	}
	for {
		k, err := c.openReachable(ctx, dir, how{flags: flags, serving: true, wait: 2 * time.Second})
		if err != nil {
			return err
		}
		s := &server{core: k, cli: c}
		err = errors.Join(s.run(ctx), k.Close())
		if !errors.Is(err, errWentBack) {
			return err
		}
	}
}

func (c *cli) newLog(s config.Settings) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.LogLevel)) // checked by the catalogue
	o := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(c.err, o))
	}
	return slog.New(slog.NewTextHandler(c.err, o))
}

// dirOrMemory is the home that is meant, or "" when none is: memory.
func (c *cli) dirOrMemory() (home.Dir, error) {
	dir, err := c.dir()
	var f *failure
	if errors.As(err, &f) && f.code == "home.none" && c.flags.home == "" {
		return "", nil
	}
	return dir, err
}

// server is a core with its listeners.
type server struct {
	*core
	cli  *cli
	code string // the file with the one-time code, "" when there is none
}

func (s *server) run(ctx context.Context) (err error) {
	console, err := webui.New(webui.Config{
		Authority: s.authority, Live: s.metrics.Door("console", s.live), Refusals: s.refusals, Control: s.control, KeepsTLS: s.control.KeepsTLS, Policy: s.running.Policy, LoginIdle: s.running.LoginIdle, Now: s.clock.Now,
		NewKey: newID, Log: s.log, Host: s.host, Program: s.program(), Home: string(s.dir), Unknown: s.api,
	})
	if err != nil {
		return err
	}
	all := s.listeners(console)
	defer all.drain(0) // of what was opened before an error; a stop has drained it
	if err := s.open(ctx, all); err != nil {
		return err
	}
	if s.dir != "" {
		if err := s.dir.WritePid(os.Getpid()); err != nil {
			return err
		}
		defer s.dir.RemovePid()
	}
	if err := s.showSetup(); err != nil {
		return err
	}
	defer s.forgetCode()
	all.begin()
	s.announce(all.address())
	s.notify("READY=1")
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	go s.maintain(background)
	var left sync.WaitGroup
	left.Go(func() { s.follow(background, all) })
	left.Go(func() { s.catchUp(background) })
	left.Go(func() { s.attend(background) })
	go s.hear(background)
	counted := make(chan error, 1)
	go func() { counted <- s.usage.Run(background) }()
	select {
	case <-ctx.Done():
	case err = <-all.failed:
	}
	s.notify("STOPPING=1")
	all.drain(s.running.Settings().Drain)
	s.log.Info("stopped")
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTidy)
	s.tidy(last)
	cancel()
	end()
	if lost := <-counted; lost != nil {
		s.log.Error("the last counts of use were not saved", "error", lost)
	}
	left.Wait()
	return err
}

// hear follows what other nodes change, if the store is shared.
func (s *server) hear(ctx context.Context) {
	shared, ok := s.store.Present().(follows)
	if !ok {
		return
	}
	if err := shared.Run(ctx); err != nil {
		s.log.Error("the changes of other nodes are not followed any more", "error", err)
	}
}

// lastTidy is how long a server that stops waits for a store that hangs.
const lastTidy = 5 * time.Second

// tidy removes and puts down what has ended.
func (s *server) tidy(ctx context.Context) {
	if err := s.authority.Maintain(ctx); err != nil {
		s.log.Error("maintenance did not finish", "error", err)
	}
}

// endOverlaps lets the clock end what it ends.
func (s *server) endOverlaps(ctx context.Context, uptime time.Duration) {
	if err := s.authority.EndOverlaps(ctx, uptime); err != nil {
		s.log.Error("what is due was not done", "error", err)
	}
}

func (s *server) announce(at net.Addr) {
	facts := s.authority.Facts()
	s.log.Info("ready", "address", at.String(), "version", version(), "store", facts.Kind, "location", facts.Location)
	if !facts.Persistent {
		remedy := s.program() + " init DIR --start"
		if s.dir != "" {
			remedy = s.program() + " config properties set api.access.tokens.store " + s.dir.Tokens() + " && " + s.program() + " config apply"
		}
		s.log.Warn("tokens are kept in memory only and will be lost on restart", "remedy", remedy)
	}
}

// program is what people type to reach this server.
func (s *server) program() string {
	if s.dir != "" {
		return s.dir.Manager()
	}
	return s.cli.program
}

// showSetup shows the one-time code of a server without an administrator: on
// the terminal, or else in a file that only this user can read.
func (s *server) showSetup() error {
	if s.setup == (authority.Secret{}) {
		return nil
	}
	if terminal(s.cli.err) {
		fmt.Fprintf(s.cli.err, "\nNo administrator exists. Open %s and enter this one-time code:\n\n    %s\n\n", s.url(), s.setup.Unsafe())
		return nil
	}
	s.code = s.dir.Code()
	if s.dir == "" {
		folder, err := os.MkdirTemp("", "mintmark-")
		if err != nil {
			return fmt.Errorf("keep the one-time code: %w", err)
		}
		s.code = filepath.Join(folder, "first-sign-in-code")
	}
	_ = os.Remove(s.code)
	f, err := os.OpenFile(s.code, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("keep the one-time code: %w", err)
	}
	_, err = io.WriteString(f, s.setup.Unsafe()+"\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keep the one-time code: %w", err)
	}
	s.log.Warn("no administrator exists; the first sign-in needs the one-time code", "code_file", s.code, "address", s.url())
	return nil
}

func (s *server) forgetCode() {
	if s.code == "" {
		return
	}
	_ = os.Remove(s.code)
	if s.dir == "" {
		_ = os.Remove(filepath.Dir(s.code))
	}
}

// maintain does what has no hurry, until ctx ends.
func (s *server) maintain(ctx context.Context) {
	began := time.Now() // its differences are the time that has really passed
	hourly, minutely, often := time.NewTicker(time.Hour), time.NewTicker(time.Minute), time.NewTicker(time.Second)
	defer hourly.Stop()
	defer minutely.Stop()
	defer often.Stop()
	if s.code == "" {
		often.Stop() // there is no file to take away
	}
	s.endOverlaps(ctx, 0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hourly.C:
			s.tidy(ctx)
		case <-minutely.C:
			s.metrics.Mark()
			s.endOverlaps(ctx, time.Since(began))
		case <-often.C:
			if needed, err := s.authority.SetupNeeded(ctx); err == nil && !needed {
				s.forgetCode()
				often.Stop()
			}
		}
	}
}

// notify tells whoever runs the service how it stands.
func (s *server) notify(state string) {
	socket, _ := s.cli.getenv("NOTIFY_SOCKET")
	notify(socket, state)
}
