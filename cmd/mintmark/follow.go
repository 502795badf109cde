package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"mintmark/internal/config"
	"mintmark/internal/control"
)

const (
	// lingering is how long what listens goes on after a change: so long the answer
	// to it, and the page that says where the server is now, have time to arrive.
	lingering = time.Second
	// onceMore is after how long an address is tried again that could not be
	// listened on.
	onceMore = 5 * time.Second
)

// notConfirmed is said of a trial that was over before a start.
const notConfirmed = "settings on trial were not confirmed in time; those before are in force again"

// notWrittenBack is said of one that cannot be ended yet.
const notWrittenBack = "settings on trial were not confirmed in time, and those before cannot be put back now"

// open opens all listeners, or none. An address on trial that cannot be listened
// on is no reason not to start: the one before is listened on again.
func (s *server) open(ctx context.Context, all *listeners) error {
	err := all.follow(ctx, s.running.Settings())
	if err != nil && s.goBack(ctx, err) {
		err = all.follow(ctx, s.running.Settings())
	}
	if err == nil && s.dir != "" {
		err = all.openLocal(ctx)
	}
	return err
}

// goBack ends a trial that cannot go on, and reports whether there was one. One
// that is not about where the server listens has nothing to do with it.
func (s *server) goBack(ctx context.Context, why error) bool {
	if !slices.ContainsFunc([]string{config.Listen, config.Certificate, config.Key}, s.control.OnTrial) {
		return false
	}
	back, err := s.control.GoBack(ctx, s.self(), why.Error())
	if !back.Back {
		return false
	}
	s.log.Error("the settings on trial do not work", "error", why)
	s.sayBack(back, err)
	return true
}

// sayBack says how it stands after a trial that nobody has ended.
func (s *server) sayBack(back control.Return, err error) {
	about := []any{"why", back.Why}
	if err != nil {
		about = append(about, "error", err)
	}
	if len(back.Waiting) > 0 {
		about = append(about, "after_restart", strings.Join(back.Waiting, ", "))
	}
	switch {
	case !back.Back:
		s.log.Error("a trial is over, and the settings before could not be applied again; this is tried again", about...)
	case !back.InForce:
		s.log.Error("the settings before the trial are applied again, but not in force yet; this is tried again", about...)
	case err != nil:
		s.log.Error("the settings before the trial are in force again, but no signing key of their algorithm could be made; this is tried again", about...)
	default:
		s.log.Warn("the settings before the trial are in force again", about...)
	}
}

// follow lets the listeners follow the settings, and ends trials, until ctx ends.
func (s *server) follow(ctx context.Context, all *listeners) {
	began := time.Now() // its differences are the time that has really passed
	everySecond := time.NewTicker(time.Second)
	defer everySecond.Stop()
	var later <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-everySecond.C:
			s.endTrial(ctx, time.Since(began))
			continue
		case <-s.changed:
			later = time.After(lingering)
			continue
		case <-later:
			later = nil
		}
		if err := all.follow(ctx, s.running.Settings()); err != nil {
			later = time.After(onceMore)
			if !s.goBack(ctx, err) {
				s.log.Error("the server cannot be reached as the settings say; this is tried again", "error", err)
			}
		}
	}
}

func (s *server) endTrial(ctx context.Context, uptime time.Duration) {
	if back, err := s.control.EndTrial(ctx, s.self(), uptime); back.Back || err != nil {
		s.sayBack(back, err)
	}
}
