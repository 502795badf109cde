package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"mintmark/internal/authority"
	"mintmark/internal/config"
	"mintmark/internal/control"
)

const (
	// lingering is how long what listens goes on after a change: so long the answer
	// to it, and the page that says where the server is now, have time to arrive.
	lingering = time.Second
	// onceMore is after how long an address is tried again that could not be
	// listened on, and the store that did not take what was left to do.
	onceMore = 5 * time.Second
	// seldom is after how long one is for which what works has to let go of its port.
	seldom = 10 * time.Minute
)

// notConfirmed is said of a trial that was over before a start.
const notConfirmed = "settings on trial were not confirmed in time; those before are in force again"

// notWrittenBack is said of one that cannot be ended yet.
const notWrittenBack = "settings on trial were not confirmed in time, and those before cannot be put back now"

// notFinished is said of what changes have left to do, and the store does not take.
const notFinished = "a change of the settings is not finished; this is tried again"

// errWentBack ends what was opened with settings that are not applied any more.
var errWentBack = errors.New("the settings before those on trial are applied again")

// open opens all listeners, or none. An address on trial that cannot be listened
// on is no reason not to start: the revision before is applied again, and the error
// is errWentBack.
func (s *server) open(ctx context.Context, all *listeners) error {
	s.control.CheckListen = all.check
	if err := all.follow(ctx, s.running.Settings()); err != nil {
		if s.control.Book != nil && writeBack(s.control.Book, s.log, err) {
			return errWentBack
		}
		return err
	}
	if s.dir == "" {
		return nil
	}
	return all.openLocal(ctx)
}

// writeBack ends a trial with which a server cannot begin to listen, and reports
// whether there was one. Nothing runs yet that would have to follow.
func writeBack(book *config.Book, log *slog.Logger, why error) bool {
	tried := addressOnTrial(book)
	if tried == 0 {
		return false
	}
	log.Error("the settings on trial do not work", "error", why)
	if _, _, err := book.Revert(tried, why.Error(), config.Itself(), time.Now().UTC()); err != nil {
		log.Error("the settings before cannot be put back", "error", err)
		return false
	}
	log.Warn(errWentBack.Error())
	return true
}

// addressOnTrial is the revision on trial, if that is about where the server
// listens: no other trial has to do with that. 0: there is none.
func addressOnTrial(book *config.Book) uint64 {
	t, runs := book.Trial()
	if !runs || !slices.ContainsFunc([]string{config.Listen, config.Certificate, config.Key}, func(p string) bool { return slices.Contains(t.Properties, p) }) {
		return 0
	}
	return t.Revision
}

// move lets the listeners follow the settings. A trial of the public address goes
// back if that cannot be listened on, and if the trial had begun before the attempt.
func (s *server) move(ctx context.Context, all *listeners) error {
	tried := uint64(0)
	if s.control.Book != nil {
		tried = addressOnTrial(s.control.Book)
	}
	err := all.follow(ctx, s.running.Settings())
	unheard, _ := errors.AsType[*unheardError](err)
	if unheard == nil || tried == 0 || !slices.Contains(unheard.properties, config.Listen) {
		return err
	}
	back, lost := s.control.GoBack(ctx, authority.Itself(), tried, err.Error())
	switch {
	case !back.Back && errors.Is(lost, authority.Conflict): // somebody else has ended it
		return err
	case !back.Back:
		return errors.Join(err, lost)
	}
	s.log.Error("the settings on trial do not work", "error", err)
	s.wentBack(back, lost)
	return nil
}

// wentBack says how it stands after a trial that nobody has ended, and has what it
// left to do done.
func (s *server) wentBack(back control.Return, err error) {
	select {
	case s.owing <- struct{}{}:
	default: // it is known already
	}
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
	default:
		s.log.Warn("the settings before the trial are in force again", about...)
	}
}

// follow lets the listeners follow the settings, and ends trials, until ctx ends.
func (s *server) follow(ctx context.Context, all *listeners) {
	began := time.Now() // its differences are the time that has really passed
	everySecond, again := time.NewTicker(time.Second), time.NewTicker(seldom)
	defer everySecond.Stop()
	defer again.Stop()
	var later <-chan time.Time
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-everySecond.C:
			s.endTrial(ctx, time.Since(began))
			continue
		case <-again.C:
			all.forget()
			continue
		case <-s.changed:
			all.forget()
			later = time.After(lingering)
			continue
		case <-later:
			later = nil
		}
		err := s.move(ctx, all)
		if err == nil {
			said = ""
			continue
		}
		later = time.After(onceMore)
		if text := err.Error(); text != said { // not at each try
			s.log.Error("the server cannot be reached as the settings say; this is tried again", "error", err)
			said = text
		}
	}
}

func (s *server) endTrial(ctx context.Context, uptime time.Duration) {
	if back, err := s.control.EndTrial(ctx, authority.Itself(), uptime); back.Back || err != nil {
		s.wentBack(back, err)
	}
}

// catchUp does what changes of the settings have left to do, until ctx ends. It
// waits for the store, and nothing waits for it.
func (s *server) catchUp(ctx context.Context) {
	said, wait := "", time.Second
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.owing:
		case <-time.After(wait):
		}
		err := s.control.CatchUp(ctx, authority.Itself())
		if err == nil {
			said, wait = "", time.Second
			continue
		}
		wait = onceMore
		if text := err.Error(); text != said && ctx.Err() == nil { // not at each try
			s.log.Warn(notFinished, "error", err)
			said = text
		}
	}
}
