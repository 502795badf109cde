// Command bench runs each door of Mintmark beside its floor, and each verdict
// beside the primitives it cannot do without, in one run on one machine.
//
// The server of all doors and floors is one process on one core; the load comes
// from another process on another core, over connections that stay open. A floor
// answers the very bytes that its door answers, and no more.
//
// The one hard idea: a figure alone says nothing, because machines differ and
// drift. Door and floor take turns, a moment each, and what is reported is the
// middle of the ratios of such turns, with the least and the greatest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"
)

// plan is what a run was asked for.
type plan struct {
	live, many  int // tokens in the live set of the doors, and of the measurement of memory
	presented   int
	connections int
	turns       int
	turn        time.Duration
	only        *regexp.Regexp
	report      string
	serverCore  string
	loadCore    string
	upstream    string
	profile     string // where the doors write what their core did
	part        string // which process this is: "" starts the others
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p, err := read(os.Args[1:])
	if err == nil {
		err = p.run(ctx)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func read(args []string) (p plan, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&p.live, "live", 1_000_000, "live tokens behind the doors")
	f.IntVar(&p.many, "many", 10_000_000, "live tokens when memory is measured")
	f.IntVar(&p.presented, "presented", 10_000, "different tokens that are presented")
	f.IntVar(&p.connections, "connections", 32, "connections of the load")
	f.IntVar(&p.turns, "turns", 9, "turns of each door and each floor")
	f.DurationVar(&p.turn, "turn", time.Second, "length of a turn")
	only := f.String("only", "", "measure what this regular expression matches")
	f.StringVar(&p.report, "report", "", "also write the report to this file")
	f.StringVar(&p.serverCore, "server-core", "0", "the core of the servers")
	f.StringVar(&p.loadCore, "load-core", "1", "the core of the load")
	f.StringVar(&p.profile, "profile", "", "write a profile of the doors' processor to this file")
	f.StringVar(&p.upstream, "upstream", "", "for the program itself: the address of the API behind proxies")
	f.StringVar(&p.part, "part", "", "for the program itself: which of its processes this is")
	if err := f.Parse(args); err != nil {
		return p, err
	}
	if p.turns < 5 || p.presented < 1 || p.presented > p.live {
		return p, errors.New("at least 5 turns, and no more tokens presented than live")
	}
	p.only, err = regexp.Compile(*only)
	return p, err
}

func (p plan) run(ctx context.Context) error {
	switch p.part {
	case "":
		return p.lead(ctx)
	case "doors":
		return p.serveDoors(ctx)
	case "upstream":
		return serveUpstream(ctx)
	case "load":
		return p.load(ctx)
	case "verdicts":
		return p.verdicts()
	case "writer":
		return p.besideWriter()
	case "memory":
		return p.memory()
	}
	return fmt.Errorf("there is no part %s", p.part)
}

// lead starts one part after the other, each on its cores, and writes the
// report.
func (p plan) lead(ctx context.Context) error {
	out := &report{plan: p}
	out.begin()
	for _, part := range []struct{ name, core string }{
		{"load", p.loadCore}, {"verdicts", p.serverCore}, {"writer", p.serverCore + "," + p.loadCore}, {"memory", p.serverCore + "," + p.loadCore},
	} {
		fmt.Fprintf(os.Stderr, "bench: %s\n", part.name)
		cmd := p.process(ctx, part.name, part.core)
		text, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("part %s: %w", part.name, err)
		}
		out.add(text)
	}
	return out.end()
}

// process is another process of this program on the given cores.
func (p plan) process(ctx context.Context, part, cores string, more ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := onCores(ctx, cores, self, slices.Concat(os.Args[1:], []string{"-part", part}, more)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+fmt.Sprint(1+strings.Count(cores, ",")))
	return cmd
}

// onCores is a command that stays on some cores. Without taskset it goes where the
// system puts it, and the report says so.
func onCores(ctx context.Context, cores, program string, args ...string) *exec.Cmd {
	if tool, err := exec.LookPath("taskset"); err == nil {
		program, args = tool, append([]string{"-c", cores, program}, args...)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	return cmd
}
