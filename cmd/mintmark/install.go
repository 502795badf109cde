package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/home"
)

// installation is what init is asked for.
type installation struct {
	listen, store, passwordFile string
	sealing                     string // of a fleet that exists
	start                       bool
}

func (c *cli) initCommand() *cobra.Command {
	var in installation
	cmd := local(&cobra.Command{
		Use: "init DIR", Short: "Make an installation directory", Args: exactly(1, 1),
		Example: c.example("manager init ./mintmark-home --start", "manager init /opt/mintmark --listen 0.0.0.0:8443 --store memory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := c.install(cmd.Context(), args[0], in)
			if errors.Is(err, home.ErrExists) {
				if dir, _ := home.Open(args[0]); dir != "" {
					return fail(exitConflict, "home.exists", "%s", err).advise("start it with: " + dir.Manager() + " start")
				}
			}
			if err != nil {
				return err
			}
			c.made = dir
			c.say("Installed in %s.", dir)
			c.warnIssuer(dir, in.listen)
			if in.start {
				return c.start(cmd.Context(), dir, in.passwordFile != "")
			}
			if in.store == "memory" {
				c.warnMemory(string(dir))
			}
			c.say("Start it with: %s start", c.self())
			return nil
		},
	})
	f := cmd.Flags()
	f.StringVar(&in.listen, "listen", "127.0.0.1:3000", "the address and port to listen on")
	f.StringVar(&in.store, "store", "", "where tokens last: an absolute .json path, or memory; the default is a file in DIR")
	f.StringVar(&in.passwordFile, "admin-password-file", "", "make the administrator admin with the password in this file (- is the input)")
	f.StringVar(&in.sealing, "sealing-key", "", "join the fleet whose key-encryption key is in this file")
	f.BoolVar(&in.start, "start", false, "start the server and say where to go")
	return cmd
}

// warnIssuer says that an address which stands for all of a machine's is none
// that tokens can name, unless the environment names another issuer.
func (c *cli) warnIssuer(dir home.Dir, listen string) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil || !unspecified(host) {
		return
	}
	issuer := config.IssuerFor(listen, false)
	if s, err := c.settings(dir); err != nil || s.Issuer != issuer {
		return
	}
	c.warn("tokens will name %s as their issuer, where no client can find this server\n"+
		"         before the first token: %s config properties set %s https://NAME:PORT && %s config apply", issuer, c.self(), config.Issuer, c.self())
}

// install makes a home, whole or not at all.
func (c *cli) install(ctx context.Context, path string, in installation) (_ home.Dir, err error) {
	if _, port, err := net.SplitHostPort(in.listen); err == nil && port == "0" {
		return "", fail(exitInvalid, "config.invalid", "%s: port 0 is another one at each start, where nobody finds the server again", config.Listen)
	}
	secret := ""
	if in.passwordFile != "" {
		if secret, err = c.secretFile(in.passwordFile, "password"); err != nil {
			return "", err
		}
	}
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	properties := map[string]string{config.Listen: in.listen}
	if in.sealing != "" {
		if properties[config.SealingKey], err = filepath.Abs(in.sealing); err != nil {
			return "", err
		}
	}
	dir, undo, err := home.Create(path, program)
	if err != nil {
		return "", err
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
	if err = c.furnish(ctx, dir, properties); err != nil {
		return "", err
	}
	k, err := c.openCore(ctx, dir, how{fresh: true})
	if err != nil {
		return "", err
	}
	if secret != "" {
		_, err = k.authority.CreateAdmin(ctx, k.self(), "admin", authority.NewSecret(secret))
	}
	return dir, errors.Join(err, k.Close())
}

// furnish writes the files of a new home.
func (c *cli) furnish(ctx context.Context, dir home.Dir, properties map[string]string) error {
	_, settings, err := config.Resolve(config.Layers{File: properties})
	if err != nil {
		return fail(exitInvalid, "config.invalid", "%s", err)
	}
	// Tokens name their issuer and audience: both are fixed from the start.
	properties[config.Issuer], properties[config.Audience] = settings.Issuer, strings.Join(settings.Audience, ",")
	properties[config.Listen] = settings.Listen
	if settings.Store != "" {
		properties[config.Store] = settings.Store
	}
	if err := prepareCustody(c.files, dir, settings); err != nil {
		return err
	}
	if err := createStore(ctx, dir, settings.Store, c.files); err != nil {
		return err
	}
	who := config.Author{Kind: "local", Name: operator(), From: "local"}
	_, err = config.Create(c.files, dir.Config(), properties, who, time.Now().UTC())
	return err
}
