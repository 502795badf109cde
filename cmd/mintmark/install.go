package main

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/home"
	"mintmark/internal/signing"
	"mintmark/internal/store/mapstore"
)

// installation is what init is asked for.
type installation struct {
	listen, store, passwordFile string
	start                       bool
}

func (c *cli) initCommand() *cobra.Command {
	var in installation
	cmd := &cobra.Command{
		Use: "init DIR", Short: "Make an installation directory", Args: exactly(1, 1),
		Example: "  " + c.program + " init ./mintmark-home --start\n" +
			"  " + c.program + " init /opt/mintmark --listen 0.0.0.0:8443 --store memory",
		RunE: func(cmd *cobra.Command, args []string) error { return c.install(cmd.Context(), args[0], in) },
	}
	f := cmd.Flags()
	f.StringVar(&in.listen, "listen", "127.0.0.1:3000", "the address and port to listen on")
	f.StringVar(&in.store, "store", "", "where tokens last: an absolute .json path, or memory; the default is a file in DIR")
	f.StringVar(&in.passwordFile, "admin-password-file", "", "make the administrator admin with the password in this file (- is the input)")
	f.BoolVar(&in.start, "start", false, "start the server and say where to go")
	return cmd
}

func (c *cli) install(ctx context.Context, path string, in installation) (err error) {
	secret := ""
	if in.passwordFile != "" {
		if secret, err = c.password(in.passwordFile); err != nil {
			return err
		}
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	properties := map[string]string{config.Listen: in.listen}
	dir, undo, err := home.Create(path, program)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	switch in.store {
	case "memory":
	case "":
		properties[config.Store] = dir.Tokens()
	default:
		properties[config.Store] = in.store
	}
	if err = c.furnish(dir, properties); err != nil {
		return err
	}
	k, err := c.openCore(ctx, dir, how{fresh: true})
	if err != nil {
		return err
	}
	if secret != "" {
		_, err = k.authority.CreateAdmin(ctx, k.self(), "admin", authority.NewSecret(secret))
	}
	if err = errors.Join(err, k.Close()); err != nil {
		return err
	}
	c.say("Installed in %s.", dir)
	if in.store == "memory" {
		c.warnMemory(dir)
	}
	if in.start {
		return c.start(ctx, dir, secret != "")
	}
	c.say("Start it with: %s start", dir.Manager())
	return nil
}

// furnish writes the files of a new home.
func (c *cli) furnish(dir home.Dir, properties map[string]string) error {
	_, settings, err := config.Resolve(config.Layers{File: properties})
	if err != nil {
		return fail(exitInvalid, "config.invalid", "%s", err)
	}
	// Tokens name their issuer and audience: both are fixed from the start.
	properties[config.Issuer], properties[config.Audience] = settings.Issuer, strings.Join(settings.Audience, ",")
	properties[config.Listen] = settings.Listen
	if settings.Store != "" {
		properties[config.Store] = settings.Store
		if _, err := os.Lstat(settings.Store); errors.Is(err, os.ErrNotExist) {
			if err := mapstore.CreateTokens(c.files, settings.Store); err != nil {
				return err
			}
		}
	}
	if _, err := signing.Create(c.files, dir.Keyring(), rand.Reader); err != nil {
		return err
	}
	if err := mapstore.Create(mapstore.Config{Home: string(dir), Files: c.files, Now: time.Now}); err != nil {
		return err
	}
	who := config.Author{Kind: "local", Name: operator(), From: "local"}
	_, err = config.Create(c.files, dir.Config(), properties, who, time.Now().UTC())
	return err
}

func (c *cli) startCommand() *cobra.Command {
	return &cobra.Command{
		Use: "start", Short: "Start the server in the background; returns when it is ready", Args: exactly(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := c.dir()
			if err != nil {
				return err
			}
			return c.start(cmd.Context(), dir, false)
		},
	}
}

func (c *cli) start(ctx context.Context, dir home.Dir, withPassword bool) error {
	state, pid, err := dir.Process(c.files)
	if err != nil {
		return err
	}
	if state == home.Running {
		c.say("Already running (pid %d).", pid)
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, c.flags.timeout)
	defer cancel()
	if pid, err = dir.Start(wait); err != nil {
		return err
	}
	client, err := c.local(ctx, dir)
	if err != nil {
		return err
	}
	s, err := client.Status(ctx)
	if err != nil {
		return err
	}
	place := s.Store.Location
	if place == "" {
		place = "memory"
	}
	c.say("Started (pid %d) on %s. Store: %s (%s).", pid, s.URL, place, plural(s.Tokens.Active, "token"))
	c.signInHelp(dir, s.URL, withPassword)
	if !s.Store.Persistent {
		c.warnMemory(dir)
	}
	return nil
}

// signInHelp says how to sign in for the first time.
func (c *cli) signInHelp(dir home.Dir, url string, withPassword bool) {
	if withPassword {
		c.say("Open %s and sign in as admin with your password.", url)
		return
	}
	code, err := os.ReadFile(dir.Code())
	if err != nil {
		return // there is an administrator
	}
	if terminal(c.err) {
		c.say("Open %s and enter this one-time code:\n\n    %s\n", url, strings.TrimSpace(string(code)))
		return
	}
	c.say("Open %s and enter the one-time code; show it with: cat %s", url, dir.Code())
}

func (c *cli) warnMemory(dir home.Dir) {
	program := c.program
	if dir != "" {
		program = dir.Manager()
	}
	c.warn("tokens are kept in memory only and will be lost on restart")
	c.say("         keep them: %s config properties set api.access.tokens.store %s", program, filepath.Join(string(dir), "token.json"))
}

func (c *cli) stopCommand() *cobra.Command {
	return &cobra.Command{
		Use: "stop", Short: "Stop the server; waits until it has ended", Args: exactly(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := c.dir()
			if err != nil {
				return err
			}
			return c.stop(cmd.Context(), dir)
		},
	}
}

func (c *cli) stop(ctx context.Context, dir home.Dir) error {
	lost := -1
	if client, err := c.local(ctx, dir); err == nil {
		if s, err := client.Status(ctx); err == nil && !s.Store.Persistent {
			lost = s.Tokens.Active
		}
	}
	began := time.Now()
	wait, cancel := context.WithTimeout(ctx, c.flags.timeout)
	defer cancel()
	pid, err := dir.Stop(wait, c.files)
	if err != nil {
		return err
	}
	if pid == 0 {
		c.say("Already stopped.")
		return nil
	}
	c.say("Stopped (pid %d, %.1f s).", pid, time.Since(began).Seconds())
	if lost > 0 {
		c.warn("%s kept in memory and gone now", wereOrWas(lost))
	} else if lost == 0 {
		c.warn("tokens are kept in memory only; there were none to lose")
	}
	return nil
}

func (c *cli) restartCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restart", Short: "Stop the server and start it again", Args: exactly(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := c.dir()
			if err != nil {
				return err
			}
			if err := c.stop(cmd.Context(), dir); err != nil {
				return err
			}
			return c.start(cmd.Context(), dir, false)
		},
	}
}

func wereOrWas(n int) string {
	if n == 1 {
		return "1 token was"
	}
	return plural(n, "token") + " were"
}
