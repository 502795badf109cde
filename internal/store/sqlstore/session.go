package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
	"time"
)

// A statement that takes longer is given up. What takes longer than that on a
// sound database is a bulk load or the first load of a node.
const (
	statementTime = 5 * time.Second
	bulkTime      = 10 * time.Minute
)

// timeFor bounds the writing of many rows: more of them take longer.
func timeFor(rows int) time.Duration {
	return min(bulkTime, statementTime+time.Duration(rows)*10*time.Millisecond)
}

// keep is how many statements a session keeps, each some 13 KB of SQLite. The
// lists that people look at are made of some hundred.
const keep = 256

// session is one connection, used by one caller at a time.
type session struct {
	driver *Driver
	conn   *sql.Conn
	kept   map[string]*statement
	uses   uint64
}

// statement is one that is prepared.
type statement struct {
	*sql.Stmt
	used uint64 // the number of its last use in the session
}

// prepared answers the statement of a text, nil when texts are sent as they are.
// Before one too many is kept, the one goes that was not used for longest.
func (s *session) prepared(ctx context.Context, text string) (*statement, error) {
	if !s.driver.Prepare {
		return nil, nil
	}
	s.uses++
	if stmt := s.kept[text]; stmt != nil {
		stmt.used = s.uses
		return stmt, nil
	}
	if len(s.kept) >= keep {
		oldest, used := "", s.uses
		for text, stmt := range s.kept {
			if stmt.used < used {
				oldest, used = text, stmt.used
			}
		}
		if err := s.kept[oldest].Close(); err != nil {
			return nil, err
		}
		delete(s.kept, oldest)
	}
	stmt, err := s.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	s.kept[text] = &statement{stmt, s.uses}
	return s.kept[text], nil
}

func (s *session) exec(ctx context.Context, text string, args ...any) error {
	stmt, err := s.prepared(ctx, text)
	switch {
	case err != nil:
	case stmt != nil:
		_, err = stmt.ExecContext(ctx, args...)
	default:
		_, err = s.conn.ExecContext(ctx, text, args...)
	}
	return err
}

// rows calls scan for each row of an answer.
func (s *session) rows(ctx context.Context, scan func(*sql.Rows) error, text string, args ...any) error {
	stmt, err := s.prepared(ctx, text)
	if err != nil {
		return err
	}
	var rows *sql.Rows
	if stmt != nil {
		rows, err = stmt.QueryContext(ctx, args...)
	} else {
		rows, err = s.conn.QueryContext(ctx, text, args...)
	}
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// drop closes the connection for good.
func (s *session) drop() {
	for _, stmt := range s.kept {
		_ = stmt.Close()
	}
	_ = s.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = s.conn.Close()
}

// open makes a session.
func (d *Driver) open(ctx context.Context) (*session, error) {
	conn, err := d.DB.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &session{driver: d, conn: conn, kept: make(map[string]*statement)}, nil
}

// pool is a bounded number of sessions; who finds none free waits.
type pool struct {
	driver *Driver
	places chan struct{}
	mu     sync.Mutex
	idle   []*session
	closed bool
}

func newPool(d *Driver) *pool { return &pool{driver: d, places: make(chan struct{}, d.Sessions)} }

// begin answers a session in which a transaction has begun. A connection that
// broke while nobody used it is replaced.
func (p *pool) begin(ctx context.Context, how string) (*session, error) {
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for {
		s, err := p.take()
		fresh := s == nil
		if fresh && err == nil {
			s, err = p.driver.open(ctx)
		}
		if err != nil {
			<-p.places
			return nil, err
		}
		if err = s.exec(ctx, how); err == nil {
			return s, nil
		}
		s.drop()
		if fresh || ctx.Err() != nil {
			<-p.places
			return nil, err
		}
	}
}

func (p *pool) take() (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if p.closed {
		return nil, closedStore()
	}
	if n == 0 {
		return nil, nil
	}
	s := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return s, nil
}

// end ends the transaction of a session and gives it back.
func (p *pool) end(s *session) {
	ctx, cancel := context.WithTimeout(context.Background(), statementTime)
	defer cancel()
	sound := s.exec(ctx, "ROLLBACK") == nil
	p.mu.Lock()
	if sound = sound && !p.closed; sound {
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if !sound {
		s.drop()
	}
	<-p.places
}

// close closes idle sessions now and the others when they are given back.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, s := range idle {
		s.drop()
	}
}

// dbtx is a transaction in a session. A view's begins with its first read.
type dbtx struct {
	ctx     context.Context
	pool    *pool // nil: it has begun
	session *session
	bulk    bool // it may take long
	failed  error
}

// within bounds one statement.
func (d *dbtx) within() (context.Context, context.CancelFunc) {
	limit := statementTime
	if d.bulk {
		limit = bulkTime
	}
	return context.WithTimeout(d.ctx, limit)
}

func (d *dbtx) begin() error {
	if d.failed != nil || d.session != nil {
		return d.failed
	}
	ctx, cancel := d.within()
	defer cancel()
	d.session, d.failed = d.pool.begin(ctx, d.pool.driver.Read)
	return d.failed
}

// end gives up the transaction of a view.
func (d *dbtx) end() {
	if d.session != nil {
		d.pool.end(d.session)
		d.session = nil
	}
}

func (d *dbtx) rows(scan func(*sql.Rows) error, text string, args ...any) error {
	if err := d.begin(); err != nil {
		return d.class(err)
	}
	ctx, cancel := d.within()
	defer cancel()
	return d.class(d.session.rows(ctx, scan, text, args...))
}

// exec executes a statement; "" is none.
func (d *dbtx) exec(text string) error {
	if text == "" {
		return nil
	}
	if err := d.begin(); err != nil {
		return d.class(err)
	}
	ctx, cancel := d.within()
	defer cancel()
	return d.class(d.session.exec(ctx, text))
}

// row reads one row and reports whether there is one.
func (d *dbtx) row(into []any, text string, args ...any) (bool, error) {
	found := false
	err := d.rows(func(rows *sql.Rows) error {
		found = true
		return rows.Scan(into...)
	}, text, args...)
	return found, err
}

// class keeps the first error, after which the transaction is of no use, and
// says what it means.
func (d *dbtx) class(err error) error {
	if err == nil {
		return nil
	}
	if d.failed == nil {
		d.failed = err
	}
	if cause := context.Cause(d.ctx); cause != nil {
		return cancelled(errors.Join(cause, err))
	}
	return failure(d.driver(), err)
}

func (d *dbtx) driver() *Driver {
	if d.session != nil {
		return d.session.driver
	}
	return d.pool.driver
}
