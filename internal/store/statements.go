package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
)

// maxStatements is how many prepared statements a connection keeps, at a few
// KiB each. The store has some hundred; lists with many values have more.
const maxStatements = 100

// openCached opens a database whose connections keep what they prepared:
// parsing its text is half of what a small query costs SQLite.
func openCached(dsn string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn) // connects to nothing yet
	if err != nil {
		return nil, err
	}
	c := connector{driver: db.Driver(), dsn: dsn}
	return sql.OpenDB(c), db.Close()
}

// connector makes connections that keep their statements.
type connector struct {
	driver driver.Driver
	dsn    string
}

// Connect implements driver.Connector.
func (c connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	whole, ok := conn.(driverConn)
	if !ok {
		return nil, fmt.Errorf("store: the driver's connections lack a method: %T", conn)
	}
	return &keepingConn{driverConn: whole, kept: map[string]*keptStatement{}}, nil
}

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return c.driver }

// driverConn is all that a connection of the driver can do.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// keepingConn is a connection that keeps its statements. The database/sql
// package sees to it that only one call at a time reaches it.
type keepingConn struct {
	driverConn
	kept map[string]*keptStatement
	uses uint64
}

type keptStatement struct {
	driver.StmtExecContext
	driver.StmtQueryContext
	close func() error
	last  uint64 // when it was used, in uses of the connection
	lent  bool   // its rows are still being read
}

// ExecContext implements driver.ExecerContext.
func (c *keepingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.driverConn.ExecContext(ctx, query, args)
	}
	return s.ExecContext(ctx, args)
}

// QueryContext implements driver.QueryerContext.
func (c *keepingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.driverConn.QueryContext(ctx, query, args)
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	s.lent = true
	return &lentRows{Rows: rows, of: s}, nil
}

// lentRows are the rows of a kept statement, which is free again once they are
// closed.
type lentRows struct {
	driver.Rows
	of *keptStatement
}

// Close implements driver.Rows.
func (r *lentRows) Close() error {
	r.of.lent = false
	return r.Rows.Close()
}

// statement returns the kept statement of a query, prepared if need be; nil if
// it is not to be kept, or in use.
func (c *keepingConn) statement(ctx context.Context, query string) (*keptStatement, error) {
	if !keepable(query) {
		return nil, nil
	}
	c.uses++
	if s := c.kept[query]; s != nil {
		if s.lent {
			return nil, nil
		}
		s.last = c.uses
		return s, nil
	}
	if err := c.makeRoom(); err != nil {
		return nil, err
	}
	prepared, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	exec, isExec := prepared.(driver.StmtExecContext)
	read, isQuery := prepared.(driver.StmtQueryContext)
	if !isExec || !isQuery {
		return nil, prepared.Close()
	}
	s := &keptStatement{StmtExecContext: exec, StmtQueryContext: read, close: prepared.Close, last: c.uses}
	c.kept[query] = s
	return s, nil
}

// keepable leaves out what is run once, such as the steps of the schema.
func keepable(query string) bool {
	verb, _, _ := strings.Cut(strings.TrimSpace(query), " ")
	switch verb {
	case "SELECT", "INSERT", "UPDATE", "DELETE":
		return !strings.Contains(query, ";")
	}
	return false
}

// makeRoom gives up the statement that was not used for the longest.
func (c *keepingConn) makeRoom() error {
	if len(c.kept) < maxStatements {
		return nil
	}
	var oldest string
	for query, s := range c.kept {
		if !s.lent && (oldest == "" || s.last < c.kept[oldest].last) {
			oldest = query
		}
	}
	if oldest == "" {
		return nil
	}
	s := c.kept[oldest]
	delete(c.kept, oldest)
	return s.close()
}

// Close implements driver.Conn.
func (c *keepingConn) Close() error {
	for _, s := range c.kept {
		s.close() // an error of its last use, told then
	}
	return c.driverConn.Close()
}
