package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"weir/internal/platform"
)

// table describes how rows of type T are kept. It is data: the resources'
// files fill it in, the functions below turn it into SQL.
type table[T any] struct {
	name string // of the SQL table; the row is called t in all expressions
	noun string // as in "App not found"
	// columns binds a row's fields to columns, always in the same order.
	columns func(*T) []column
	filters map[string]filter
	orders  map[string]string // what lists can be ordered by, besides the times
	unique  []unique[T]
	// fill adds what other tables hold to rows just read.
	fill func(ctx context.Context, c *conn, rows []T) error
}

// unique says what it means when a rule of uniqueness is broken.
type unique[T any] struct {
	// key is the columns of the rule, "space_guid, name", or the name of its
	// index if that is over an expression.
	key string
	err func(T) *platform.Error
}

// byTime are the orders that every resource has.
var byTime = map[string]string{"": "t.created_at", "created_at": "t.created_at", "updated_at": "t.updated_at"}

func (t *table[T]) get(ctx context.Context, r Rows, guid string) (T, error) {
	return t.one(ctx, r, "t.guid = ?", guid)
}

// one returns the first row for which the condition holds.
func (t *table[T]) one(ctx context.Context, r Rows, condition string, args ...any) (T, error) {
	var found []T
	err := r.run.read(ctx, func(c *conn) (err error) {
		found, err = t.query(ctx, c, " WHERE "+condition+" ORDER BY t.seq LIMIT 1", args...)
		return err
	})
	if err == nil && len(found) == 0 {
		err = platform.NotFound(t.noun)
	}
	if err != nil {
		var zero T
		return zero, err
	}
	return found[0], nil
}

// list returns the rows of one page of q and how many there are on all pages.
func (t *table[T]) list(ctx context.Context, r Rows, q Query) (found []T, total int, err error) {
	orders := maps.Clone(byTime)
	maps.Copy(orders, t.orders)
	tail, tailArgs, err := q.order(orders)
	if err != nil {
		return nil, 0, err
	}
	err = r.run.read(ctx, func(c *conn) error {
		w, err := q.compile(c.dialect, t.noun, t.filters)
		if err != nil {
			return err
		}
		found, err = t.query(ctx, c, w.String()+tail, append(w.args, tailArgs...)...)
		if err != nil {
			return err
		}
		total = len(found)
		if q.PerPage > 0 {
			total, err = c.number(ctx, "SELECT COUNT(*) FROM "+t.name+" t"+w.String(), w.args...)
		}
		return err
	})
	return found, total, err
}

// query reads the rows that the end of a SELECT asks for.
func (t *table[T]) query(ctx context.Context, c *conn, tail string, args ...any) ([]T, error) {
	var names []string
	for _, col := range t.columns(new(T)) {
		if col.expr != "" {
			names = append(names, col.expr)
			continue
		}
		names = append(names, "t."+col.name)
	}
	var found []T
	err := c.query(ctx, func(rows *sql.Rows) error {
		var row T
		var dest []any
		for _, col := range t.columns(&row) {
			dest = append(dest, col.value)
		}
		if err := rows.Scan(dest...); err != nil {
			return fmt.Errorf("reading a row of %s: %w", t.name, err)
		}
		found = append(found, row)
		return nil
	}, "SELECT "+strings.Join(names, ", ")+" FROM "+t.name+" t"+tail, args...)
	if err != nil || t.fill == nil || len(found) == 0 {
		return found, err
	}
	return found, t.fill(ctx, c, found)
}

func (t *table[T]) insert(ctx context.Context, r Rows, row T) error {
	var names []string
	var args []any
	now := time.Now()
	for _, col := range t.columns(&row) {
		if col.expr != "" {
			continue
		}
		if s, ok := col.value.(stamp); ok && s.t.IsZero() && (col.name == "created_at" || col.name == "updated_at") {
			*s.t = now
		}
		if guid, ok := col.value.(*string); ok && col.name == "guid" && *guid == "" {
			return fmt.Errorf("store: a row of %s without a GUID", t.name)
		}
		names = append(names, col.name)
		args = append(args, col.value)
	}
	statement := "INSERT INTO " + t.name + " (" + strings.Join(names, ", ") + ") VALUES (" + placeholders(len(args)) + ")"
	return r.run.write(ctx, func(c *conn) error {
		_, err := c.exec(ctx, statement, args...)
		return t.explain(err, row)
	})
}

// update rewrites the row whose GUID is guid. What a row was created with,
// its own GUID apart, stays: a row may change its name but not its age.
func (t *table[T]) update(ctx context.Context, r Rows, guid string, row T) error {
	var sets []string
	var args []any
	now := time.Now().UnixMicro()
	for _, col := range t.columns(&row) {
		switch {
		case col.expr != "" || col.name == "created_at":
		case col.name == "updated_at":
			given := micros(*col.value.(stamp).t)
			sets = append(sets, "updated_at = CASE WHEN updated_at = ? THEN ? ELSE ? END")
			if given == 0 {
				given = now
			}
			args = append(args, given, now, given)
		default:
			sets = append(sets, col.name+" = ?")
			args = append(args, col.value)
		}
	}
	return r.run.write(ctx, func(c *conn) error {
		n, err := c.exec(ctx, "UPDATE "+t.name+" SET "+strings.Join(sets, ", ")+" WHERE guid = ?", append(args, guid)...)
		if err == nil && n == 0 {
			return platform.NotFound(t.noun)
		}
		return t.explain(err, row)
	})
}

func (t *table[T]) delete(ctx context.Context, r Rows, guid string) error {
	return r.run.write(ctx, func(c *conn) error {
		n, err := c.exec(ctx, "DELETE FROM "+t.name+" WHERE guid = ?", guid)
		if err == nil && n == 0 {
			return platform.NotFound(t.noun)
		}
		if errors.Is(err, errForeignKey) {
			return &platform.Error{
				Kind: platform.KindInvalid,
				Msg:  strings.ToLower(t.noun) + " is still in use",
				Hint: "delete what belongs to it first",
				Err:  fmt.Errorf("%w: %w", ErrInUse, err),
			}
		}
		return err
	})
}

// explain turns a broken rule into what a person can act on.
func (t *table[T]) explain(err error, row T) error {
	if v, ok := errors.AsType[*violation](err); ok {
		for _, u := range t.unique {
			if u.key == v.key {
				e := u.err(row)
				e.Err = fmt.Errorf("%w: %w", ErrDuplicate, err)
				return e
			}
		}
		return &platform.Error{
			Kind: platform.KindConflict,
			Msg:  strings.ToLower(t.noun) + " already exists",
			Err:  fmt.Errorf("%w: %w", ErrDuplicate, err),
		}
	}
	if errors.Is(err, errForeignKey) {
		return &platform.Error{
			Kind: platform.KindInvalid,
			Msg:  strings.ToLower(t.noun) + " refers to something that does not exist",
			Err:  fmt.Errorf("%w: %w", ErrDangling, err),
		}
	}
	return err
}
