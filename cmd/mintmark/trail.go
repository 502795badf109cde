package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/authority"
)

// pageOfTrail is how many entries are asked for at once.
const pageOfTrail = 500

// trail calls fn with every entry of the audit log from a number on, in the order
// in which they happened, and answers the number of the last one.
func trail(ctx context.Context, l *link, from uint64, fn func(api.Event) error) (last uint64, err error) {
	head, err := l.Audit(ctx, api.EventQuery{Limit: 1})
	if err != nil || len(head.Items) == 0 {
		return 0, err
	}
	last = head.Items[0].Seq
	for next := max(from, last-head.Total+1); next <= last; next += pageOfTrail {
		page, err := l.Audit(ctx, api.EventQuery{Before: min(next+pageOfTrail, last+1), Limit: pageOfTrail})
		if err != nil {
			return 0, err
		}
		for _, e := range slices.Backward(page.Items) {
			if e.Seq < next {
				continue
			}
			if err := fn(e); err != nil {
				return 0, err
			}
		}
	}
	return last, nil
}

func (c *cli) followAudit() *cobra.Command {
	var every time.Duration
	var last int
	cmd := &cobra.Command{
		Use: "follow", Short: "Print audit entries as they come, until Ctrl-C", Args: exactly(0, 0),
		Long:    "Each entry is a line of its own, oldest first: with tabs between the columns, or with -o json or jsonl as JSON.",
		Example: c.example("manager audit follow", "manager audit follow --last 0 -o jsonl"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 100*time.Millisecond {
				return fail(exitUsage, "usage", "--interval is 100ms or more")
			}
			l, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			return errors.Join(c.follow(cmd.Context(), l, last, every), l.Close())
		},
	}
	cmd.Flags().DurationVar(&every, "interval", time.Second, "how often to ask for new entries")
	cmd.Flags().IntVar(&last, "last", 10, "how many entries to begin with")
	return cmd
}

// follow ends when it is interrupted, which is no failure: it has nothing to undo.
func (c *cli) follow(ctx context.Context, l *link, last int, every time.Duration) error {
	head, err := l.Audit(ctx, api.EventQuery{Limit: 1})
	if err != nil {
		return err
	}
	next := uint64(1)
	if len(head.Items) > 0 {
		next = head.Items[0].Seq + 1 - min(head.Items[0].Seq, uint64(max(last, 0)))
	}
	for {
		seen, err := trail(ctx, l, next, c.printEvent)
		if ctx.Err() != nil {
			return unchanged(exitInterrupted, "interrupted")
		}
		if err != nil {
			return err
		}
		next = max(next, seen+1)
		select {
		case <-ctx.Done():
			return unchanged(exitInterrupted, "interrupted")
		case <-time.After(every):
		}
	}
}

// printEvent prints one entry on one line.
func (c *cli) printEvent(e api.Event) error {
	if c.asJSON() {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = io.WriteString(c.out, escape(string(line))+"\n")
		return err
	}
	c.tell("%s\t%s\t%s\t%s\t%s\t%s", e.At.UTC().Format(time.RFC3339), orDash(e.Actor.Name), e.Action, orDash(e.Label), orDash(e.From), e.Outcome)
	return nil
}

func (c *cli) exportAudit() *cobra.Command {
	var from uint64
	var outFile string
	cmd := &cobra.Command{
		Use: "export", Short: "Write the whole audit log, one JSON object a line, oldest first", Args: exactly(0, 0),
		Long:    "The lines are those of audit list -o jsonl, whatever the output format; audit verify --file checks them without a server.",
		Example: c.example("manager audit export --out-file audit.jsonl", "manager audit export --from 1001 >> audit.jsonl"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, l *link) error { return c.export(ctx, l, from, outFile) })
		},
	}
	cmd.Flags().Uint64Var(&from, "from", 1, "the number of the first entry")
	cmd.Flags().StringVar(&outFile, "out-file", "", "write to a new file (0600) instead of the standard output")
	return cmd
}

func (c *cli) export(ctx context.Context, l *link, from uint64, outFile string) (err error) {
	out := c.out
	if outFile != "" {
		f, err := newFile(outFile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	done := c.patience("Reading the audit log")
	defer done()
	w := bufio.NewWriter(out)
	n := 0
	_, err = trail(ctx, l, from, func(e api.Event) error {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		n++
		_, err = w.WriteString(escape(string(line)) + "\n")
		return err
	})
	if err = errors.Join(err, w.Flush()); err != nil {
		return err
	}
	if outFile != "" {
		c.say("Written to %s: %s.", outFile, entries(n))
	}
	return nil
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return strconv.Itoa(n) + " entries"
}

// chain is what a check of the audit log found.
type chain struct {
	OK      bool   `json:"ok"`
	Entries int    `json:"entries"`
	First   uint64 `json:"first"` // 0 when there are none
	Last    uint64 `json:"last"`
	Head    string `json:"head"` // the hash of the last entry
	Problem string `json:"problem"`
}

// take adds an entry behind those before. The first one is taken as it is, unless
// it is the first there ever was.
func (k *chain) take(e api.Event) {
	want := authority.Event{
		At: e.At, Actor: authority.Actor{Kind: e.Actor.Kind, Name: e.Actor.Name}, Action: e.Action, Target: e.Target, Label: e.Label,
		From: e.From, Outcome: e.Outcome, RequestID: e.RequestID, Detail: e.Detail,
	}
	switch {
	case k.Problem != "":
	case k.Entries > 0 || e.Seq == 1:
		if want = want.ChainAfter(k.Last, k.Head); want.Seq != e.Seq {
			k.Problem = fmt.Sprintf("entry %d comes after entry %d", e.Seq, k.Last)
		} else if want.Hash != e.Hash {
			k.Problem = fmt.Sprintf("entry %d is not what was written, or the one before it is not", e.Seq)
		}
	}
	if k.Entries == 0 {
		k.First = e.Seq
	}
	k.Entries, k.Last, k.Head = k.Entries+1, e.Seq, e.Hash
}

func (c *cli) verifyAudit() *cobra.Command {
	var file, anchor string
	cmd := &cobra.Command{
		Use: "verify", Short: "Check the hash chain of the audit log; exit code 10 when it is broken", Args: exactly(0, 0),
		Long: "Every entry has a hash over itself and the hash before it, so none can be changed, dropped or moved without all that follow.\n" +
			"What the chain alone cannot show is that its end was cut off: keep the head that this prints elsewhere, and give it as --anchor.",
		Example: c.example("manager audit verify", "manager audit verify --file audit.jsonl"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" {
				f, err := oldFile(file)
				if err != nil {
					return err
				}
				defer f.Close()
				return c.verify(anchor, func(fn func(api.Event) error) error { return readEvents(f, fn) })
			}
			return c.with(cmd.Context(), func(ctx context.Context, l *link) error {
				return c.verify(anchor, func(fn func(api.Event) error) error {
					_, err := trail(ctx, l, 1, fn)
					return err
				})
			})
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "check what audit export wrote instead")
	cmd.Flags().StringVar(&anchor, "anchor", "", "a hash that was the head before and has to be in the chain")
	return cmd
}

// verify checks a chain and says what it found.
func (c *cli) verify(anchor string, entries func(func(api.Event) error) error) error {
	done := c.patience("Checking the audit log")
	var found chain
	anchored := anchor == ""
	err := entries(func(e api.Event) error {
		found.take(e)
		anchored = anchored || e.Hash == anchor
		return nil
	})
	done()
	if err != nil {
		return err
	}
	if found.Problem == "" && !anchored {
		found.Problem = "no entry has the hash of --anchor: the log was cut off or begun anew since"
	}
	found.OK = found.Problem == ""
	state := "intact"
	if !found.OK {
		state = found.Problem
	}
	err = c.one("Chain", found, [][]string{
		{"chain", state},
		{"entries", fmt.Sprintf("%d, from %d to %d", found.Entries, found.First, found.Last)},
		{"head", orDash(found.Head)},
	})
	if err == nil && !found.OK {
		return errAttention
	}
	return err
}

// readEvents reads the lines of an export.
func readEvents(r io.Reader, fn func(api.Event) error) error {
	lines := json.NewDecoder(r)
	for n := 1; ; n++ {
		var e api.Event
		switch err := lines.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fail(exitInvalid, "audit.file", "entry %d of the file cannot be read: %s", n, err)
		}
		if err := fn(e); err != nil {
			return err
		}
	}
}
