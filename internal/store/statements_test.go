package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// cachedDB is one connection with a table of its own.
func cachedDB(t testing.TB) *sql.DB {
	t.Helper()
	db, err := openCached(sqliteWriter(filepath.Join(t.TempDir(), "x.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE n (v INTEGER UNIQUE); INSERT INTO n VALUES (1), (2), (3)"); err != nil {
		t.Fatal(err)
	}
	return db
}

// kept returns the statements that the only connection keeps.
func kept(t *testing.T, db *sql.DB) map[string]*keptStatement {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var all map[string]*keptStatement
	if err := conn.Raw(func(c any) error { all = c.(*keepingConn).kept; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestStatements_AreKeptAndBounded(t *testing.T) {
	db := cachedDB(t)
	if n := len(kept(t, db)); n != 0 {
		t.Errorf("a script is kept: %d statements", n)
	}
	const often = "SELECT COUNT(*) FROM n WHERE v > ?"
	for i := range 2 * maxStatements {
		var n int
		if err := db.QueryRow(often, 1).Scan(&n); err != nil || n != 2 {
			t.Fatal(n, err)
		}
		if err := db.QueryRow(fmt.Sprintf("SELECT COUNT(*) + %d FROM n", i)).Scan(&n); err != nil || n != 3+i {
			t.Fatal(n, err)
		}
	}
	all := kept(t, db)
	if len(all) != maxStatements || all[often] == nil {
		t.Errorf("%d statements are kept, the one in use among them: %v", len(all), all[often] != nil)
	}
}

func TestStatements_OneInUseIsNotUsedAgain(t *testing.T) {
	db := cachedDB(t)
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	const query = "SELECT v FROM n ORDER BY v"
	read := func(each func(int)) {
		rows, err := tx.Query(query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var v int
			if err := rows.Scan(&v); err != nil {
				t.Fatal(err)
			}
			each(v)
		}
	}
	var got []int
	read(func(outer int) { read(func(inner int) { got = append(got, 10*outer+inner) }) })
	if fmt.Sprint(got) != "[11 12 13 21 22 23 31 32 33]" {
		t.Error(got)
	}
}

func TestStatements_GoOnAfterAnError(t *testing.T) {
	db := cachedDB(t)
	const insert = "INSERT INTO n VALUES (?)"
	for i := range 3 {
		if _, err := db.Exec(insert, 1); err == nil || !strings.Contains(err.Error(), "UNIQUE") {
			t.Fatal(err)
		}
		if _, err := db.Exec(insert, 10+i); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.ExecContext(ended, insert, 99); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// The schema changes under a statement that is kept.
	var n int
	for _, want := range []int{1, 2} {
		rows, err := db.Query("SELECT * FROM n")
		if err != nil {
			t.Fatal(err)
		}
		columns, _ := rows.Columns()
		rows.Close()
		if n = len(columns); n != want {
			t.Errorf("%d columns, want %d", n, want)
		}
		if _, err := db.Exec(fmt.Sprintf("ALTER TABLE n ADD COLUMN c%d", want)); err != nil {
			t.Fatal(err)
		}
	}
}
