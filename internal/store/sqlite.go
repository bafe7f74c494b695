package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"weir/internal/platform"
)

// dialect is what one database does differently from the others.
type dialect struct {
	// rebind turns the ? of a query into the driver's placeholders.
	rebind func(query string) string
	// jsonField is the text of a field, named by an argument, of the JSON
	// object in a column; NULL if there is none.
	jsonField func(column string) string
	// schema fills in the words of the migrations that differ.
	schema *strings.Replacer
	// explain turns a driver's error into a violation, errForeignKey or a
	// *platform.Error where it can; nil stays nil.
	explain func(error) error
}

// violation is a broken rule of uniqueness.
type violation struct {
	key string // columns, "space_guid, name", or name of the index
	err error
}

func (v *violation) Error() string { return v.err.Error() }
func (v *violation) Unwrap() error { return v.err }

var errForeignKey = errors.New("foreign key")

func sqliteDialect() *dialect {
	return &dialect{
		rebind:    func(query string) string { return query },
		jsonField: func(column string) string { return column + " ->> ?" },
		schema: strings.NewReplacer(
			"{{seq}}", "INTEGER PRIMARY KEY",
			"{{identity}}", fmt.Sprintf("PRAGMA application_id = %d;", applicationID),
		),
		explain: explainSQLite,
	}
}

// sqliteDSN names the file and sets every connection up. Pragmas must be
// here: one sent with Exec would reach one connection of the pool only.
func sqliteDSN(path string, params ...string) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: path}
	u.RawQuery = strings.Join(params, "&")
	return u.String()
}

func sqliteWriter(path string) string {
	return sqliteDSN(
		path,
		"_pragma=busy_timeout(5000)",
		"_pragma=journal_mode(wal)",
		"_pragma=synchronous(full)",
		"_pragma=foreign_keys(on)",
		"_pragma=journal_size_limit(67108864)",
		"_txlock=immediate",
	)
}

func sqliteReader(path string) string {
	return sqliteDSN(
		path,
		"_pragma=busy_timeout(5000)",
		"_pragma=query_only(on)",
		"_txlock=deferred",
	)
}

// explainSQLite implements dialect.explain.
func explainSQLite(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return &violation{key: uniqueKey(e.Error()), err: err}
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return errors.Join(errForeignKey, err)
	case sqlite3.SQLITE_INTERRUPT:
		return errors.Join(context.Canceled, err)
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return unavailable("the database is locked by another program", "close what else has it open, then try again", err)
	case sqlite3.SQLITE_FULL:
		return unavailable("the database cannot be written: the disk is full", "free some space, then try again", err)
	case sqlite3.SQLITE_IOERR:
		return unavailable("the database cannot be read or written: input/output error", "check the disk, then try again", err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return damaged(err)
	}
	return err
}

// needsRollback reports whether a file could not be read because an unfinished
// change must be undone first, which a read-only connection may not do.
func needsRollback(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == sqlite3.SQLITE_READONLY_ROLLBACK || e.Code() == sqlite3.SQLITE_READONLY_RECOVERY)
}

// uniqueKey reads the broken rule out of SQLite's message, which is either
// "UNIQUE constraint failed: apps.space_guid, apps.name" or
// "UNIQUE constraint failed: index 'users_name'".
func uniqueKey(msg string) string {
	parts := strings.Split(msg, "constraint failed: ") // the driver says it once, SQLite again
	rule := parts[len(parts)-1]
	if i := strings.LastIndex(rule, " ("); i >= 0 { // the driver adds the code
		rule = rule[:i]
	}
	if index, ok := strings.CutPrefix(rule, "index "); ok {
		return strings.Trim(index, "'")
	}
	columns := strings.Split(rule, ", ")
	for i, c := range columns {
		if _, column, ok := strings.Cut(c, "."); ok {
			columns[i] = column
		}
	}
	return strings.Join(columns, ", ")
}

func unavailable(msg, hint string, err error) error {
	return &platform.Error{Kind: platform.KindUnavailable, Msg: msg, Hint: hint, Err: err}
}
