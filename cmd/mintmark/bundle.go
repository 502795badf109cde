package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/home"
)

// What of the log and of the audit log goes into a bundle.
const (
	bundledLog    = 1 << 20 // bytes
	bundledEvents = 500
)

// part is one file of a bundle.
type part struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
	About string `json:"about"`

	data []byte
}

// bundle is what a support bundle is made of.
type bundle struct {
	Path  string `json:"path"` // "" when it was not written
	Files []part `json:"files"`
}

func (c *cli) bundleCommand() *cobra.Command {
	var outFile string
	var dry bool
	cmd := &cobra.Command{
		Use: "bundle", Short: "Collect what somebody needs to help you into one file, without secrets", Args: exactly(0, 0),
		Long: "It says what is in it. No token, key secret or password is, no record of a token, and no value of a secret property; client IDs,\n" +
			"user names and addresses are, in the log and the audit log. Look through it before you send it. The result is the file's name.",
		Example: c.example("manager support bundle --dry-run", "manager support bundle --out-file support.tar.gz"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withConfig(cmd.Context(), nil, func(ctx context.Context, l *link, _ []string) error { return c.bundle(ctx, l, outFile, dry) })
		},
	}
	cmd.Flags().StringVar(&outFile, "out-file", "", "the new file (0600); the default is mintmark-support-TIME.tar.gz here")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be in it")
	return cmd
}

func (c *cli) bundle(ctx context.Context, l *link, path string, dry bool) error {
	now := time.Now().UTC()
	if path == "" {
		path = "mintmark-support-" + now.Format("20060102T150405Z") + ".tar.gz"
	}
	done := c.patience("Collecting")
	parts, err := c.parts(ctx, l)
	done()
	if err != nil {
		return err
	}
	for _, p := range parts {
		c.say("%-14s %8d bytes  %s", p.Name, p.Bytes, p.About)
	}
	c.say("Left out: tokens and their records, key secrets, passwords, values of secret properties.")
	if dry {
		c.looked("Would write %s.", path)
		return c.bundled(bundle{Files: parts})
	}
	f, err := newFile(path)
	if err != nil {
		return err
	}
	if err := errors.Join(pack(f, parts, now), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return c.bundled(bundle{path, parts})
}

// bundled prints the result: the name of the file.
func (c *cli) bundled(b bundle) error {
	if c.asJSON() {
		return c.one("Bundle", b, nil)
	}
	if b.Path != "" {
		c.tell("%s", b.Path)
	}
	return nil
}

// parts collects the files of a bundle.
func (c *cli) parts(ctx context.Context, l *link) ([]part, error) {
	status, err := l.Status(ctx)
	if err != nil {
		return nil, err
	}
	conf, err := l.Config(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := l.Keys(ctx)
	if err != nil {
		return nil, err
	}
	events, err := l.Audit(ctx, api.EventQuery{Limit: bundledEvents})
	if err != nil {
		return nil, err
	}
	var out []part
	for _, p := range []struct {
		name, about string
		value       any
	}{
		{"program.json", "version, system and Go of this program", map[string]string{"version": version(), "system": runtime.GOOS + "/" + runtime.GOARCH, "go": runtime.Version()}},
		{"status.json", "what status and doctor say", status},
		{"config.json", "every property, running, applied and staged", withoutSecrets(conf)},
		{"keys.json", "names, states and times of the signing keys", keys},
		{"audit.json", fmt.Sprintf("the last %s of the audit log", entries(len(events.Items))), events},
	} {
		data, err := json.MarshalIndent(p.value, "", "  ")
		if err != nil {
			return nil, err
		}
		out = append(out, part{p.name, len(data), p.about, data})
	}
	if log := tail(status.Home); c.flags.server == "" && len(log) > 0 {
		out = append(out, part{"server.log", len(log), "the end of the server's log", log})
	}
	return out, nil
}

// withoutSecrets drops the values of secret properties.
func withoutSecrets(conf api.Configuration) api.Configuration {
	for i := range conf.Properties {
		p := &conf.Properties[i]
		if !p.Secret {
			continue
		}
		hide := func(text string) string {
			if text == "" {
				return ""
			}
			return "(left out)"
		}
		p.Running, p.Applied = hide(p.Running), hide(p.Applied)
		if p.Staged != nil {
			staged := hide(*p.Staged)
			p.Staged = &staged
		}
	}
	return conf
}

// tail is the end of a home's server log; a log that cannot be read is none.
func tail(dir string) []byte {
	f, err := os.Open(home.Dir(dir).Log())
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > bundledLog {
		if _, err := f.Seek(-bundledLog, io.SeekEnd); err != nil {
			return nil
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, bundledLog))
	if err != nil {
		return nil
	}
	if len(data) == bundledLog { // it begins within a line
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	return data
}

func pack(w io.Writer, parts []part, now time.Time) error {
	zipped := gzip.NewWriter(w)
	files := tar.NewWriter(zipped)
	for _, p := range parts {
		if err := files.WriteHeader(&tar.Header{Name: "mintmark-support/" + p.Name, Mode: 0o600, Size: int64(len(p.data)), ModTime: now}); err != nil {
			return err
		}
		if _, err := files.Write(p.data); err != nil {
			return err
		}
	}
	return errors.Join(files.Close(), zipped.Close())
}
