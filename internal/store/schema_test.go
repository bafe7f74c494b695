package store

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/internal/platform"
)

var update = flag.Bool("update", false, "rewrite testdata/v<newest>.sql from the database in WEIR_STORE_TEST_DUMP")

// every list of every resource, so that a mistyped filter fails here.
func TestTables_EveryFilterAndOrderIsValidSQL(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tryAll(t, s, apps)
	tryAll(t, s, processes)
	tryAll(t, s, packages)
	tryAll(t, s, builds)
	tryAll(t, s, droplets)
	tryAll(t, s, revisions)
	tryAll(t, s, deployments)
	tryAll(t, s, instances)
	tryAll(t, s, domains)
	tryAll(t, s, routes)
	tryAll(t, s, organizations)
	tryAll(t, s, spaces)
	tryAll(t, s, events)
	tryAll(t, s, users)
	tryAll(t, s, buildpacks)
	tryAll(t, s, serviceInstances)
	tryAll(t, s, serviceBindings)
	tryAll(t, s, versions)
	tryAll(t, s, promotions)
	tryAll(t, s, changes)
	tryAll(t, s, rollouts)
	tryAll(t, s, rolloutEvents)
	tryAll(t, s, rolloutEvidence)
	tryAll(t, s, freezes)
}

func tryAll[T any](t *testing.T, s *Store, tab *table[T]) {
	t.Helper()
	for key := range tab.filters {
		for _, q := range []Query{
			{In: map[string][]string{key: {"x", "y"}}, PerPage: 5},
			{NotIn: map[string][]string{key: {"x"}}},
		} {
			if _, _, err := tab.list(t.Context(), s.Rows, q); err != nil {
				t.Errorf("%s by %s: %v", tab.name, key, err)
			}
		}
	}
	for key := range tab.orders {
		if _, _, err := tab.list(t.Context(), s.Rows, Query{OrderBy: key}); err != nil {
			t.Errorf("%s in order of %s: %v", tab.name, key, err)
		}
	}
}

func TestMigrate_AFailedStepLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	next := steps[len(steps)-1].version + 1
	bad := append(slices.Clone(steps), migration{next, "CREATE TABLE half (a TEXT); INSERT INTO nowhere VALUES (1);"})
	if s, err := open(t.Context(), path, bad); err == nil {
		s.Close()
		t.Fatal("a broken migration was accepted")
	}
	s, err := open(t.Context(), path, steps)
	if err != nil {
		t.Fatalf("the last good schema after a failed upgrade: %v", err)
	}
	tables, err := (&tableNames{s}).all(t.Context())
	if err != nil || slices.Contains(tables, "half") {
		t.Errorf("tables after a failed step: %v, %v", tables, err)
	}
	s.Close()
	good := append(slices.Clone(steps), migration{next, "CREATE TABLE whole (a {{seq}});"})
	if s, err = open(t.Context(), path, good); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := open(t.Context(), path, steps); !errors.Is(err, ErrNewerSchema) {
		t.Errorf("the older program on the newer schema: %v", err)
	}
}

type tableNames struct{ s *Store }

func (n *tableNames) all(ctx context.Context) (names []string, err error) {
	err = n.s.read(ctx, func(c *conn) error {
		names, err = c.texts(ctx, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
		return err
	})
	return names, err
}

func TestStore_WriterCalledInsideATxDoesNotHangForEver(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.maxWait = 20e6
	err = s.Tx(t.Context(), func(*Tx) error { return s.SetSetting(t.Context(), "a", "b") })
	if platform.KindOf(err) != platform.KindUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestStore_AFullDiskIsUnavailableAndRecovers(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, filepath.Join(t.TempDir(), "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pages := func(n int) {
		t.Helper()
		if _, err := s.writer.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	pages(1) // stays at what is used already
	big := strings.Repeat("x", 1<<20)
	if err := s.SetSetting(ctx, "a", big); platform.KindOf(err) != platform.KindUnavailable {
		t.Errorf("writing: %v", err)
	}
	if _, ok, err := s.Setting(ctx, "a"); ok || err != nil {
		t.Errorf("reading goes on: %t, %v", ok, err)
	}
	pages(1 << 30)
	if err := s.SetSetting(ctx, "a", big); err != nil {
		t.Errorf("once there is space: %v", err)
	}
}

// Dump writes a database as SQL; it is how testdata/v*.sql are made:
// WEIR_STORE_TEST_DUMP=weir.db go test -run TestDump -update ./internal/store
func TestDump(t *testing.T) {
	path := os.Getenv("WEIR_STORE_TEST_DUMP")
	if !*update || path == "" {
		t.Skip("only to make a new dump")
	}
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	text, err := dump(path)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("testdata/v%d.sql", steps[len(steps)-1].version)
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func dump(path string) (string, error) {
	db, err := sql.Open("sqlite", sqliteDSN(path, "mode=ro"))
	if err != nil {
		return "", err
	}
	defer db.Close()
	var b strings.Builder
	fmt.Fprintf(&b, "PRAGMA application_id = %d;\nPRAGMA foreign_keys = off;\nBEGIN;\n", applicationID)
	schema, err := column1(db, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type DESC, name")
	if err != nil {
		return "", err
	}
	for _, s := range schema {
		b.WriteString(s + ";\n")
	}
	tables, err := column1(db, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
	if err != nil {
		return "", err
	}
	for _, table := range tables {
		columns, err := column1(db, "SELECT name FROM pragma_table_info('"+table+"')")
		if err != nil {
			return "", err
		}
		quoted := "quote(" + strings.Join(columns, ") || ', ' || quote(") + ")"
		rows, err := column1(db, "SELECT "+quoted+" FROM "+table)
		if err != nil {
			return "", err
		}
		for _, r := range rows {
			fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES (%s);\n", table, strings.Join(columns, ", "), r)
		}
	}
	b.WriteString("COMMIT;\n")
	return b.String(), nil
}

func column1(db *sql.DB, query string) (all []string, err error) {
	rows, err := db.Query(query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}
