package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"mintmark/internal/authority"
)

const (
	block     = 100_000     // numbers of one process: more than it can use up
	residents = 100_000_000 // numbers of those who are there from the start
)

// Populate creates the tokens that Kills finds in the store again.
func Populate(t testing.TB, s authority.Store, n int) {
	t.Helper()
	err := s.Update(context.Background(), func(tx authority.Tx) error {
		for i := range n {
			if err := tx.Tokens().Insert(Token(residents + i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("populate: %v (cause: %v)", err, errors.Unwrap(err))
	}
}

// Work says what it finds in a store; then it creates tokens and deletes every
// second one, by many callers, and says before each delete and after each answer
// what it is. It returns when a call fails.
func Work(out io.Writer, s authority.Store, first int) error {
	if err := describe(out, s); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	failed := make(chan error)
	for w := range workers {
		go func() {
			for n := first + w; ; n += workers {
				if err := created(s, n); err != nil {
					failed <- err
				}
				fmt.Fprintln(out, "created", n)
				if n/workers%2 == 0 {
					continue
				}
				fmt.Fprintln(out, "deleting", n)
				if err := deleted(s, n); err != nil {
					failed <- err
				}
				fmt.Fprintln(out, "deleted", n)
			}
		}()
	}
	return <-failed
}

func created(s authority.Store, n int) error {
	v := Token(n)
	return s.Update(context.Background(), func(tx authority.Tx) error {
		return errors.Join(tx.Tokens().Insert(v), tx.Audit().Append(authority.Event{At: v.CreatedAt, Action: "token.created", Target: string(v.ID)}))
	})
}

func deleted(s authority.Store, n int) error {
	v := Token(n)
	return s.Update(context.Background(), func(tx authority.Tx) error {
		return errors.Join(tx.Tokens().Delete(v.ID), tx.Audit().Append(authority.Event{At: v.CreatedAt, Action: "token.deleted", Target: string(v.ID)}))
	})
}

// describe says which tokens are there, and how many events.
func describe(to io.Writer, s authority.Store) error {
	out := bufio.NewWriter(to)
	err := s.View(context.Background(), func(tx authority.Tx) error {
		n, err := chained(tx)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "events", n)
		old := 0
		for v, err := range tx.Tokens().All() {
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(strings.TrimPrefix(string(v.ID), "tok_"))
			if err != nil {
				return err
			}
			if n >= residents {
				old++
				continue
			}
			fmt.Fprintln(out, "there", n)
		}
		fmt.Fprintln(out, "residents", old)
		return nil
	})
	return errors.Join(err, out.Flush())
}

// chained counts the events and checks their chain.
func chained(tx authority.Tx) (n int, err error) {
	var after authority.Event
	for q := (authority.AuditQuery{Limit: 500}); ; {
		page, err := tx.Audit().Page(q)
		if err != nil {
			return n, err
		}
		for _, e := range page.Events {
			if want := after.ChainAfter(e.Seq, e.Hash); n > 0 && (want.Seq != after.Seq || want.Hash != after.Hash) {
				return n, fmt.Errorf("event %d is not the one after event %d", after.Seq, e.Seq)
			}
			after = e
			n++
		}
		if q.Before = page.Next; q.Before == 0 {
			return n, nil
		}
	}
}

// Kills starts a process that does Work, again and again, and kills it; each
// finds what the ones before were answered.
type Kills struct {
	Command    func(first int) *exec.Cmd // a process that does Work from a number on
	Cycles     int
	Population int // of Populate
	// End comes before a process is killed, which may end by it; Between when it has
	// ended. nil: nothing.
	End     func(*exec.Cmd)
	Between func(t *testing.T)

	created, deleting, deleted map[int]bool
	answers                    int
	worked                     time.Duration

	// What the newest process found.
	there             map[int]bool
	events, residents int
}

// Run runs the cycles and answers how many changes were answered a second.
func (k *Kills) Run(t *testing.T) float64 {
	t.Helper()
	k.created, k.deleting, k.deleted = map[int]bool{}, map[int]bool{}, map[int]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range k.Cycles {
		k.cycle(t, i, time.Duration(random.IntN(200))*time.Millisecond)
	}
	rate := float64(k.answers) / k.worked.Seconds()
	k.cycle(t, k.Cycles, 0) // judges the last one
	t.Logf("%d cycles, %d changes answered, %.0f a second", k.Cycles, k.answers, rate)
	if len(k.deleted) == 0 {
		t.Error("nothing was deleted: the cycles are too short")
	}
	return rate
}

// cycle starts a process, judges what it finds, lets it work for a while and
// kills it. Each has numbers of its own: those of an earlier one may be in the
// store although nobody was told.
func (k *Kills) cycle(t *testing.T, child int, life time.Duration) {
	t.Helper()
	cmd := k.Command((child + 1) * block)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	k.there = make(map[int]bool)
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		k.note(lines.Text())
	}
	if lines.Text() != "ready" {
		t.Fatalf("process %d did not open the store: %v", child, cmd.Wait())
	}
	began := time.Now()
	ended := make(chan struct{})
	time.AfterFunc(life, func() {
		defer close(ended)
		if k.End != nil {
			k.End(cmd)
		}
		_ = cmd.Process.Kill()
	})
	k.judge(t)
	for lines.Scan() {
		k.note(lines.Text())
	}
	k.worked += time.Since(began)
	<-ended
	if err := cmd.Wait(); k.End == nil && (err == nil || !strings.Contains(err.Error(), "killed")) {
		t.Fatalf("process %d ended by itself: %v", child, err)
	}
	if k.Between != nil {
		k.Between(t)
	}
}

func (k *Kills) note(line string) {
	what, number, ok := strings.Cut(line, " ")
	n, err := strconv.Atoi(number)
	if !ok || err != nil {
		return
	}
	switch what {
	case "there":
		k.there[n] = true
	case "events":
		k.events = n
	case "residents":
		k.residents = n
	case "created":
		k.created[n] = true
		k.answers++
	case "deleting":
		k.deleting[n] = true
	case "deleted":
		k.deleted[n] = true
		k.answers++
	}
}

// judge compares what the newest process found with what the earlier ones
// answered.
func (k *Kills) judge(t *testing.T) {
	t.Helper()
	for n := range k.created {
		switch {
		case k.there[n] && k.deleted[n]:
			t.Errorf("token %d was deleted, and is back", n)
		case !k.there[n] && !k.deleting[n]:
			t.Errorf("token %d was created, and is lost", n)
		}
	}
	if k.residents != k.Population || k.events < k.answers {
		t.Errorf("%d of %d tokens of before, %d events of %d changes", k.residents, k.Population, k.events, k.answers)
	}
}
