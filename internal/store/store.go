package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"weir/internal/platform"
)

// Errors that callers branch on. They are the cause of a *platform.Error.
var (
	// ErrDuplicate says that a row broke a rule of uniqueness.
	ErrDuplicate = errors.New("store: duplicate row")
	// ErrDangling says that a row refers to one that does not exist.
	ErrDangling = errors.New("store: reference to a missing row")
	// ErrInUse says that a row cannot go because others refer to it.
	ErrInUse = errors.New("store: row is still referred to")
)

// Rows has the methods that read and write rows. Store runs each of them in a
// transaction of its own, Tx all of them in one.
//
// A row that is not there is a platform.NotFound error. Insert fills in a zero
// CreatedAt and UpdatedAt; Update finds the row by its GUID, leaves CreatedAt
// alone, and sets UpdatedAt to now if it is zero or what the row has already.
type Rows struct {
	run runner
}

// runner runs a piece of work in a transaction.
type runner interface {
	read(ctx context.Context, fn func(*conn) error) error
	write(ctx context.Context, fn func(*conn) error) error
}

// Store is the open database. It is safe for concurrent use.
type Store struct {
	Rows
	dialect *dialect
	writer  *sql.DB // one connection: writers wait here, not in the database
	reader  *sql.DB
	// maxWait bounds the wait for other writers. Transactions take
	// milliseconds, so whoever waits that long waits for itself: a method of
	// Store was called inside a Tx.
	maxWait time.Duration

	mu      sync.Mutex
	changed chan struct{} // guarded by mu; closed and replaced after a commit
}

// Tx is a transaction. Nothing inside may do I/O or call methods of the Store:
// everybody else's writes wait for it.
type Tx struct {
	Rows
}

// Close waits for running transactions and closes the database.
func (s *Store) Close() error {
	return errors.Join(s.reader.Close(), s.writer.Close())
}

// Tx runs fn in a transaction that no other write can come between. It commits
// and returns nil, with all changes on disk, if fn returns nil; otherwise, and
// if fn panics, nothing is changed. fn is called at most once.
func (s *Store) Tx(ctx context.Context, fn func(*Tx) error) error {
	return s.write(ctx, func(c *conn) error { return fn(&Tx{Rows{c}}) })
}

// View runs fn on a snapshot: what it reads belongs together. Writes inside
// fail.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	return s.read(ctx, func(c *conn) error { return fn(&Tx{Rows{c}}) })
}

func (s *Store) read(ctx context.Context, fn func(*conn) error) error {
	tx, err := s.reader.BeginTx(ctx, nil)
	if err != nil {
		return s.dialect.explain(err)
	}
	defer tx.Rollback() // ends the snapshot; there is nothing to undo
	return fn(&conn{tx: tx, dialect: s.dialect})
}

func (s *Store) write(ctx context.Context, fn func(*conn) error) error {
	waitCtx, cancel := context.WithTimeout(ctx, s.maxWait)
	defer cancel()
	db, err := s.writer.Conn(waitCtx)
	if err != nil {
		return s.busy(ctx, err)
	}
	defer db.Close()
	// The transaction outlives a caller who gives up: between its first
	// statement and its end lie no waits, and an interrupted commit would
	// leave nobody knowing whether it happened.
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return s.dialect.explain(err)
	}
	defer tx.Rollback() // does nothing after a commit
	c := &conn{tx: tx, dialect: s.dialect}
	if err := fn(c); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return s.dialect.explain(fmt.Errorf("committing: %w", err))
	}
	if c.changed {
		s.broadcast()
	}
	return nil
}

func (s *Store) busy(ctx context.Context, err error) error {
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return s.dialect.explain(err)
	}
	return &platform.Error{
		Kind: platform.KindUnavailable,
		Msg:  "the database is busy",
		Hint: "try again",
		Err:  fmt.Errorf("waited %s for the writer; was a method of Store called inside a Tx?", s.maxWait),
	}
}

// Changed returns a channel that is closed when the next change is committed.
// Take it before reading, so that no change falls between.
//
// Settings, table numbers and tokens do not count as changes.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Store) broadcast() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Wait evaluates cond now and after each change until it returns true or an
// error, or ctx ends. It returns nil once cond is true.
func (s *Store) Wait(ctx context.Context, cond func(context.Context) (bool, error)) error {
	for {
		changed := s.Changed()
		ok, err := cond(ctx)
		if ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// conn is a transaction as the tables see it; the only place where SQL meets
// the driver.
type conn struct {
	tx      *sql.Tx
	dialect *dialect
	changed bool // a write that others may wait for changed at least one row
	quiet   bool // writes do not count as changes
}

func (c *conn) read(_ context.Context, fn func(*conn) error) error  { return fn(c) }
func (c *conn) write(_ context.Context, fn func(*conn) error) error { return fn(c) }

// exec runs a statement and returns how many rows it changed.
func (c *conn) exec(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := c.tx.ExecContext(ctx, c.dialect.rebind(query), args...)
	if err != nil {
		return 0, c.dialect.explain(err)
	}
	n, err := res.RowsAffected()
	if n > 0 && !c.quiet {
		c.changed = true
	}
	return n, err
}

// query calls each for every row; each only scans.
func (c *conn) query(ctx context.Context, each func(*sql.Rows) error, query string, args ...any) error {
	rows, err := c.tx.QueryContext(ctx, c.dialect.rebind(query), args...)
	if err != nil {
		return c.dialect.explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return c.dialect.explain(rows.Err())
}

// number returns the single number a query answers with.
func (c *conn) number(ctx context.Context, query string, args ...any) (n int, err error) {
	err = c.query(ctx, func(rows *sql.Rows) error { return rows.Scan(&n) }, query, args...)
	return n, err
}

// texts returns the single column of text a query answers with.
func (c *conn) texts(ctx context.Context, query string, args ...any) ([]string, error) {
	var all []string
	err := c.query(ctx, func(rows *sql.Rows) error {
		var s string
		err := rows.Scan(&s)
		all = append(all, s)
		return err
	}, query, args...)
	return all, err
}

// quietly is write for rows nobody waits for.
func (r Rows) quietly(ctx context.Context, fn func(*conn) error) error {
	return r.run.write(ctx, func(c *conn) error {
		before := c.quiet
		c.quiet = true
		defer func() { c.quiet = before }()
		return fn(c)
	})
}
