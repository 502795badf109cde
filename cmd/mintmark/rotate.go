package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mintmark/api"
	"mintmark/internal/bitting"
	"mintmark/internal/config"
)

// rotationCommands are those of a rotation with an overlap.
func (c *cli) rotationCommands() []*cobra.Command {
	return []*cobra.Command{c.rotateCommand(), c.evidenceCommand(), c.extendCommand(), c.trialCommand(), c.retireCommand()}
}

func (c *cli) rotateCommand() *cobra.Command {
	var in api.RotateKeys
	var dry bool
	cmd := &cobra.Command{
		Use: "rotate", Short: "Sign with a new secret and accept the old one for an overlap", Args: exactly(0, 0),
		Long:    "Nobody is refused: tokens signed by the old secret are accepted until the overlap ends. With --overlap nothing is asked.\nTo end everything at once, because the secret leaked, there is key reset.",
		Example: c.example("manager key rotate --overlap 14d --reason scheduled", "manager key evidence"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, l *link) error {
				if dry {
					return c.rotateDryRun(ctx, l, in)
				}
				return c.rotate(ctx, l, in)
			})
		},
	}
	cmd.Flags().StringVar(&in.Overlap, "overlap", "", "how long the old secret is accepted, such as 14d; the default is keys.overlap.default")
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, for the audit log")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say which keys would change")
	offer(cmd, "overlap", "24h", "14d", "30d")
	return cmd
}

// givenDuration refuses what is no duration before anything is asked about it.
func givenDuration(flag, text string) error {
	if text == "" {
		return nil
	}
	if _, err := config.ParseDuration(text); err != nil {
		return fail(exitInvalid, flag+".form", "--%s: %s", flag, err)
	}
	return nil
}

// rotateDryRun says what a rotation would change.
func (c *cli) rotateDryRun(ctx context.Context, l *link, in api.RotateKeys) error {
	if err := givenDuration("overlap", in.Overlap); err != nil {
		return err
	}
	keys, err := l.Keys(ctx)
	if err != nil {
		return err
	}
	named := make(map[string]api.Key)
	for _, k := range keys.Items {
		if named[k.State] = k; k.State == "previous" {
			return fail(exitConflict, "key.rotating", "it would be refused: %s is still accepted", k.Name).advise(remedies()["key.rotating"])
		}
	}
	signs, accepted := named["next"], named["current"]
	return c.dryRun(rehearsed{
		Would: fmt.Sprintf("Would sign with %s, and accept %s for the overlap.", signs.Name, accepted.Name), Keys: []api.Key{signs, accepted},
	})
}

func (c *cli) rotate(ctx context.Context, l *link, in api.RotateKeys) error {
	if in.Overlap == "" {
		if err := c.agree(ctx, "rotating the signing secret", "Rotate the signing secret with the usual overlap?"); err != nil {
			return err
		}
	}
	done, err := l.RotateKeys(ctx, in)
	if err != nil {
		return err
	}
	c.say("New secret %s %s signs from now. %s verifies until %s.", done.Current.Name, bitting.Blocks(done.Current.ID), done.Previous.Name, c.untilOf(done.Previous))
	keep := ""
	if e, err := l.Evidence(ctx, done.Previous.Name, api.EvidenceQuery{Limit: 1}); err == nil { // it is rotated, whatever can be told of it
		keep = fmt.Sprintf("The tokens that it signed (%d) are accepted until then. ", allOf(e))
	}
	c.say("%sWatch them move: %s key evidence", keep, c.self())
	if done.Warning != "" {
		c.warn("%s", done.Warning)
	}
	if c.asJSON() {
		err = c.one("KeysRotated", done, nil)
	}
	return errors.Join(err, c.afterChange(ctx, l))
}

func (c *cli) untilOf(k api.Key) string {
	if k.Until == nil {
		return "it is retired"
	}
	return c.until(*k.Until)
}

// previous answers the key that is meant: the named one, or the one that is
// being rotated away.
func previous(ctx context.Context, l *link, args []string) (api.Key, error) {
	keys, err := l.Keys(ctx)
	if err != nil {
		return api.Key{}, err
	}
	for _, k := range keys.Items {
		if len(args) == 0 && k.State == "previous" || len(args) == 1 && (k.ID == args[0] || k.Name == args[0]) {
			return k, nil
		}
	}
	if len(args) == 0 {
		return api.Key{}, fail(exitNotFound, "key.no_previous", "no rotation is under way: there is no previous secret")
	}
	return api.Key{}, fail(exitNotFound, "key.not_found", "there is no key of that name or kid")
}

// keyCall is a command on the previous key, which need not be named.
func (c *cli) keyCall(use, short, example string, fn func(context.Context, *link, api.Key) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " [KEY]", Short: short, Args: exactly(0, 1), Example: c.example("manager key "+use, example), ValidArgsFunction: c.completeKey,
		Long: "KEY is a name (key_2026b) or a kid; without it the previous key is meant. After -- a kid may begin with a hyphen.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, l *link) error {
				k, err := previous(ctx, l, args)
				if err != nil {
					return err
				}
				return fn(ctx, l, k)
			})
		},
	}
}

func (c *cli) evidenceCommand() *cobra.Command {
	var q api.EvidenceQuery
	var failIfUsed string
	cmd := c.keyCall("evidence", "Say who still uses the previous secret", "manager key evidence --fail-if-used 24h -q",
		func(ctx context.Context, l *link, k api.Key) error {
			within := time.Duration(0)
			if failIfUsed != "" {
				var err error
				if within, err = config.ParseDuration(failIfUsed); err != nil {
					return fail(exitInvalid, "duration.form", "--fail-if-used: %s", err)
				}
			}
			e, err := l.Evidence(ctx, k.Name, q)
			if err != nil {
				return err
			}
			if within == 0 || !c.codeAlone() {
				if err := c.printEvidence(e); err != nil {
					return err
				}
			}
			if within > 0 && e.LastUsedAt != nil && e.AsOf.Sub(*e.LastUsedAt) < within {
				return errAttention
			}
			return nil
		})
	cmd.Flags().StringVar(&q.State, "state", "", "not_moved, mixed, silent or moved")
	cmd.Flags().IntVar(&q.Limit, "limit", 0, "how many tokens are named at the most")
	cmd.Flags().StringVar(&failIfUsed, "fail-if-used", "", "exit with 10 when the previous secret was used within this time, such as 24h")
	offer(cmd, "state", "not_moved", "mixed", "silent", "moved")
	offer(cmd, "fail-if-used", "24h", "7d")
	return columned(cmd, c.evidenceColumns())
}

// allOf is of how many tokens there is evidence.
func allOf(e api.Evidence) int { return e.NotMoved + e.Mixed + e.Silent + e.Moved }

func (c *cli) printEvidence(e api.Evidence) error {
	if c.asJSON() {
		return c.one("Evidence", e, nil)
	}
	come := "come"
	if e.NotMoved+e.Mixed == 1 {
		come = "comes"
	}
	others := ""
	if e.OthersAt != nil {
		others = "; what other nodes have seen was read at " + c.asOf(*e.OthersAt)
	}
	c.say("%d of %s still %s under %s (as of %s; uses are counted since %s%s).", e.NotMoved+e.Mixed, plural(allOf(e), "token"), come, e.Key.Name,
		c.asOf(e.AsOf), c.until(e.CountedSince), others)
	if len(e.Items) > 0 || !c.narrow() {
		if err := printList(c, "Evidence", e.Items, c.evidenceColumns(), nil); err != nil {
			return err
		}
	}
	until := e.Key.TrialUntil
	onTrial := until != nil && e.AsOf.Before(*until)
	if onTrial {
		c.say("Trial stop until %s: %s of %s refused so far. Accept it again now: %s key trial-stop --end", c.until(*until),
			plural(int(e.TrialRequests), "request"), plural(e.TrialTokens, "token"), c.self())
	}
	switch {
	case e.Silent == 0:
	case onTrial || e.Key.State != "previous":
		c.say("Silent is not proof: monthly jobs look like this.")
	default:
		c.say("Silent is not proof: monthly jobs look like this. Try it: %s key trial-stop --for 15m", c.self())
	}
	c.note("Services that check tokens by themselves are not seen here.")
	return nil
}

func (c *cli) evidenceColumns() []column[api.TokenEvidence] {
	narrow := c.narrow()
	return []column[api.TokenEvidence]{
		{name: "CLIENT ID", of: func(t api.TokenEvidence) string { return t.Token.ClientID }},
		{name: "ID", of: func(t api.TokenEvidence) string { return c.idOf(t.Token.ID) }},
		{name: "STATE", of: func(t api.TokenEvidence) string { return movedWord(t) }},
		{name: "LAST UNDER PREVIOUS", of: func(t api.TokenEvidence) string { return c.keyUse(t.Under) }},
		{name: "PREVIOUS FROM", of: func(t api.TokenEvidence) string { return keyUser(t.Under) }, more: narrow},
		{name: "LAST UNDER CURRENT", of: func(t api.TokenEvidence) string { return c.keyUse(t.Current) }, spare: 1},
		{name: "CURRENT FROM", of: func(t api.TokenEvidence) string { return keyUser(t.Current) }, more: narrow},
		{name: "CONTACT", of: func(t api.TokenEvidence) string { return orDash(t.Token.Contact) }, spare: 2},
		{name: "IN TRIAL", of: func(t api.TokenEvidence) string { return refusedWord(t.TrialRefusals) }, spare: 3},
	}
}

func refusedWord(n uint64) string {
	if n == 0 {
		return "–"
	}
	return strconv.FormatUint(n, 10) + " refused"
}

func stateWord(state string) string {
	if state == "not_moved" {
		return "not moved"
	}
	return state
}

func (c *cli) keyUse(u *api.KeyUse) string {
	switch {
	case u == nil:
		return "–"
	case c.narrow():
		return c.when(&u.Last, "–") + "  " + u.From
	}
	return c.when(&u.Last, "–")
}

// keyUser is where the last use came from.
func keyUser(u *api.KeyUse) string {
	if u == nil {
		return "–"
	}
	return orDash(u.From)
}

func (c *cli) extendCommand() *cobra.Command {
	var in api.ExtendKey
	cmd := c.keyCall("extend", "Let the overlap end later", "manager key extend --by 7d", func(ctx context.Context, l *link, k api.Key) error {
		if (in.By == "") == (in.Until == "") {
			return fail(exitUsage, "usage", "give --by, such as 7d, or --until, a time")
		}
		k, err := l.ExtendKey(ctx, k.Name, in)
		if err != nil {
			return err
		}
		c.say("%s verifies until %s.", k.Name, c.untilOf(k))
		return errors.Join(c.keyRecord(k), c.afterChange(ctx, l))
	})
	cmd.Flags().StringVar(&in.By, "by", "", "how much later, such as 7d")
	cmd.Flags().StringVar(&in.Until, "until", "", "until when (RFC 3339)")
	return cmd
}

// keyRecord prints the key, for programs.
func (c *cli) keyRecord(k api.Key) error {
	if !c.asJSON() {
		return nil
	}
	return c.one("Key", k, nil)
}

func (c *cli) trialCommand() *cobra.Command {
	var in api.TrialStop
	var end, dry bool
	cmd := c.keyCall("trial-stop", "Refuse the previous secret for a while, to see who is left", "manager key trial-stop --end",
		func(ctx context.Context, l *link, k api.Key) error {
			if end {
				return c.endTrial(ctx, l, k)
			}
			if err := givenDuration("for", in.Duration); err != nil {
				return err
			}
			if dry {
				return c.withoutDryRun(ctx, l, k, "for a while")
			}
			if err := c.confirmWithout(ctx, l, k, "Stop accepting "+k.Name+" for a while?"); err != nil {
				return err
			}
			k, err := l.TrialStop(ctx, k.Name, in)
			if err != nil {
				return err
			}
			if k.TrialUntil != nil {
				c.say("%s is refused until %s and then accepted again by itself. Sooner: %s key trial-stop --end", k.Name, c.until(*k.TrialUntil), c.self())
			}
			return errors.Join(c.keyRecord(k), c.afterChange(ctx, l))
		})
	cmd.Flags().StringVar(&in.Duration, "for", "", "how long; 15m without it")
	cmd.Flags().BoolVar(&end, "end", false, "accept it again now")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say who would be refused")
	offer(cmd, "for", "15m", "1h")
	return cmd
}

func (c *cli) endTrial(ctx context.Context, l *link, before api.Key) error {
	k, err := l.EndTrial(ctx, before.Name)
	if err != nil {
		return err
	}
	if before.TrialUntil == nil {
		c.say("%s is not on a trial stop.", k.Name)
	} else {
		c.say("%s is accepted again.", k.Name)
	}
	return errors.Join(c.keyRecord(k), c.afterChange(ctx, l))
}

func (c *cli) retireCommand() *cobra.Command {
	var dry bool
	cmd := c.keyCall("retire", "Stop accepting the previous secret for good", "manager key retire --confirm key_2026a",
		func(ctx context.Context, l *link, k api.Key) error {
			if k.State == "retired" {
				c.say("%s is retired already.", k.Name)
				return c.keyRecord(k)
			}
			if dry {
				return c.withoutDryRun(ctx, l, k, "for good")
			}
			if err := c.confirmWithout(ctx, l, k, "Stop accepting "+k.Name+" for good?"); err != nil {
				return err
			}
			k, err := l.RetireKey(ctx, k.Name)
			if err != nil {
				return err
			}
			c.say("%s is retired: what it signed is refused from now on.", k.Name)
			return errors.Join(c.keyRecord(k), c.afterChange(ctx, l))
		})
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say who would be refused")
	return cmd
}

// withoutDryRun says who would be refused without a key.
func (c *cli) withoutDryRun(ctx context.Context, l *link, k api.Key, end string) error {
	e, err := l.Evidence(ctx, k.Name, api.EvidenceQuery{})
	if err != nil {
		return err
	}
	if err := c.printEvidence(e); err != nil {
		return err
	}
	c.looked("Would stop accepting %s %s.", k.Name, end)
	return nil
}

// confirmWithout asks in proportion to the evidence: for the key's name when
// somebody still came under it within a day, else for a yes. --confirm takes the
// kid too.
func (c *cli) confirmWithout(ctx context.Context, l *link, k api.Key, question string) error {
	if k.State != "previous" {
		return nil // refused by the server, which says why
	}
	e, err := l.Evidence(ctx, k.Name, api.EvidenceQuery{Limit: 10})
	if err != nil {
		return err
	}
	if c.flags.confirm == k.ID {
		c.flags.confirm = k.Name
	}
	if e.LastUsedAt == nil || e.AsOf.Sub(*e.LastUsedAt) >= 24*time.Hour {
		if c.flags.confirm != "" {
			return c.typed(ctx, k.Name, "", "to continue")
		}
		return c.agree(ctx, "refusing "+k.Name, question)
	}
	c.say("%s was used %s ago. Of its tokens, %d not moved and %d moved in part will be refused.", k.Name, long(e.AsOf.Sub(*e.LastUsedAt)), e.NotMoved, e.Mixed)
	return c.typed(ctx, k.Name, k.Name+" is in use", "to continue")
}
