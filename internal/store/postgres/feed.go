package postgres

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

const (
	pollEvery = 500 * time.Millisecond
	waitLeast = 50 * time.Millisecond // before the next try to connect
)

// Run hears of what other nodes change until the context ends.
func (s *Store) Run(ctx context.Context) error {
	for wait := waitLeast; ctx.Err() == nil; wait = min(2*wait, pollEvery) {
		if s.listen(ctx) {
			wait = waitLeast
		}
		// Without notifications the head is read as often as it goes.
		_ = s.Refresh(ctx, 0) // the facts tell why not
		if err := pause(ctx, s.random, wait); err != nil {
			return nil //nolint:nilerr // the end was asked for
		}
	}
	return nil
}

// pause waits for between half and all of a time, so that nodes that lost their
// database together do not come back together.
func pause(ctx context.Context, random io.Reader, d time.Duration) error {
	var b [1]byte
	if _, err := io.ReadFull(random, b[:]); err == nil {
		d = d/2 + d/2*time.Duration(b[0])/256
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listen follows the database on one connection for as long as it works, and
// reports whether it ever did.
func (s *Store) listen(ctx context.Context) (connected bool) {
	c := s.config.Copy()
	// A wait that is over is not cancelled at the server, which takes another
	// connection and a second: it is only not waited for any more.
	c.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return false
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(end)
	}()
	begin, cancel := context.WithTimeout(ctx, connectTime)
	_, err = conn.Exec(begin, "LISTEN "+channel)
	cancel()
	// What was committed before it listened is read now; of what comes after it
	// hears.
	for seen := int64(0); err == nil; {
		if err = s.Refresh(ctx, seen); err == nil {
			connected = true
			seen, err = next(ctx, conn)
		}
	}
	return connected
}

// next waits for a notification and answers the revision it names: 0 when none
// has come for a while.
func next(ctx context.Context, conn *pgx.Conn) (int64, error) {
	wait, cancel := context.WithTimeout(ctx, pollEvery)
	defer cancel()
	n, err := conn.WaitForNotification(wait)
	switch {
	case err == nil:
		revision, wrong := strconv.ParseInt(n.Payload, 10, 64)
		if wrong != nil {
			revision = 0
		}
		return revision, nil
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && !conn.IsClosed():
		return 0, nil
	}
	return 0, err
}
