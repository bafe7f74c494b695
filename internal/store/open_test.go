package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// rawExec changes a database behind the store's back.
func rawExec(t testing.TB, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%.200s: %v", s, err)
		}
	}
	must(t, db.Close())
}

// made returns the path of a database with a fixture in it, closed.
func made(t testing.TB) (string, fixture) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weir.db")
	s, err := store.Open(context.Background(), path)
	must(t, err)
	f := full(t, s)
	must(t, s.Close())
	return path, f
}

// refused opens path, wants it refused for a reason and left as it was.
func refused(t *testing.T, path string, reason error) {
	t.Helper()
	before, readErr := os.ReadFile(path)
	s, err := store.Open(t.Context(), path)
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, reason) {
		t.Errorf("got %v, want %v", err, reason)
	}
	e, ok := errors.AsType[*platform.Error](err)
	if !ok || e.Msg == "" || e.Hint == "" {
		t.Errorf("%v tells nobody what to do", err)
	}
	after, err := os.ReadFile(path)
	if string(before) != string(after) || (err == nil) != (readErr == nil) {
		t.Error("the refused file was changed")
	}
}

func TestOpen_KeepsTheFileToItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd ?#% name.db")
	s := openAt(t, path)
	must(t, s.SetSetting(t.Context(), "a", "b"))
	for _, name := range []string{path, path + "-wal"} {
		info, err := os.Stat(name)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", name, info.Mode())
		}
	}
}

func TestOpen_RefusesANewerSchema(t *testing.T) {
	path, _ := made(t)
	rawExec(t, path, "INSERT INTO schema_version (version_id, is_applied) VALUES (99, 1)")
	refused(t, path, store.ErrNewerSchema)
}

func TestOpen_RefusesWhatIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign.db")
	rawExec(t, foreign, "CREATE TABLE notes (text TEXT)")
	refused(t, foreign, store.ErrForeign)

	text := filepath.Join(dir, "text.db")
	must(t, os.WriteFile(text, []byte("this is not SQLite, but it is long enough to have a header ........................................"), 0o600))
	refused(t, text, store.ErrForeign)

	if _, err := store.Open(t.Context(), dir); !errors.Is(err, store.ErrForeign) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := store.Open(t.Context(), filepath.Join(dir, "no", "weir.db")); err == nil {
		t.Error("opened a database in a directory that does not exist")
	}
}

func TestOpen_RefusesToReplaceALostDatabase(t *testing.T) {
	guid := platform.NewGUID()
	for _, name := range []string{"instances/" + guid, "logs/" + guid, "cache/" + guid, "staging/" + guid} {
		dir := t.TempDir()
		path := filepath.Join(dir, "weir.db")
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o700))
		refused(t, path, store.ErrLost)
		must(t, os.WriteFile(path, nil, 0o600)) // truncated
		refused(t, path, store.ErrLost)
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "weir.db-wal"), []byte("x"), 0o600))
	refused(t, filepath.Join(dir, "weir.db"), store.ErrLost)

	dir = t.TempDir() // what a first start makes before it opens the store
	for _, name := range []string{"instances", "logs", "cache", "staging", "droplets/trees", "run"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o711))
	}
	must(t, os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600))
	openAt(t, filepath.Join(dir, "weir.db"))
}

func TestOpen_RefusesATruncatedDatabase(t *testing.T) {
	path, _ := made(t)
	info, err := os.Stat(path)
	must(t, err)
	must(t, os.Truncate(path, info.Size()/2))
	refused(t, path, store.ErrDamaged)
}

// A flipped bit may hide in the text of a row, where nothing can tell. But it
// never crashes the start, and damage to the structure is told as such.
func TestOpen_FlippedBitsAreRefusedOrHarmless(t *testing.T) {
	t.Parallel()
	path, f := made(t)
	sound, err := os.ReadFile(path)
	must(t, err)
	flips := 40
	if os.Getenv("WEIR_TEST_LONG") != "" {
		flips = 1000
	}
	var caught int
	for range flips {
		bad := append([]byte(nil), sound...)
		bad[rand.IntN(len(bad))] ^= 1 << rand.IntN(8)
		must(t, os.WriteFile(path, bad, 0o600))
		s, err := store.Open(t.Context(), path)
		if err != nil {
			caught++
			continue
		}
		f.read(t.Context(), s) // answers or errors, both are fine
		s.Close()
	}
	t.Logf("%d of %d flips were refused", caught, flips)
}

func TestOpen_ReadsEveryOlderSchema(t *testing.T) {
	dumps, err := filepath.Glob("testdata/v*.sql")
	must(t, err)
	if len(dumps) == 0 {
		t.Fatal("no dumps")
	}
	for _, dump := range dumps {
		t.Run(filepath.Base(dump), func(t *testing.T) {
			text, err := os.ReadFile(dump)
			must(t, err)
			path := filepath.Join(t.TempDir(), "weir.db")
			rawExec(t, path, string(text))
			s := openAt(t, path)
			newDumpFixture().check(t, s)
			if v, ok, err := s.Setting(t.Context(), "color"); v != "blue" || !ok || err != nil {
				t.Errorf("setting: %q %t %v", v, ok, err)
			}
		})
	}
}

// newDumpFixture returns the rows that the dumps hold. What a later schema
// adds must be given its default here, not a value.
func newDumpFixture() fixture {
	n := 0
	return newFixture(func() string {
		n++
		return fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
	})
}

// TestDump_Source makes the database that TestDump turns into SQL.
func TestDump_Source(t *testing.T) {
	path := os.Getenv("WEIR_STORE_TEST_DUMP")
	if path == "" {
		t.Skip("only to make a new dump")
	}
	s := openAt(t, path)
	must(t, newDumpFixture().insert(t.Context(), s))
}

func thousandApps(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "weir.db")
	s, err := store.Open(b.Context(), path)
	must(b, err)
	must(b, s.EnsureDefaults(b.Context(), "apps.localhost"))
	ctx := b.Context()
	domains, _, err := s.Domains(ctx, store.Query{})
	must(b, err)
	must(b, s.Tx(ctx, func(tx *store.Tx) error {
		for i := range 1000 {
			f := newFixture(platform.NewGUID)
			app := newApp(b, s, fmt.Sprint("app-", i))
			f.App.GUID, f.App.Name, f.App.SpaceGUID = app.GUID, app.Name, app.SpaceGUID
			f.Organization.Name = app.Name
			f.join()
			f.App.SpaceGUID, f.Route.SpaceGUID, f.Route.DomainGUID, f.Route.Host = app.SpaceGUID, app.SpaceGUID, domains[0].GUID, app.Name
			for _, err := range []error{
				tx.InsertApp(ctx, f.App), tx.InsertProcess(ctx, f.Process), tx.InsertPackage(ctx, f.Package), tx.InsertBuild(ctx, f.Build),
				tx.InsertDroplet(ctx, f.Droplet), tx.InsertRevision(ctx, f.Revision), tx.InsertDeployment(ctx, f.Deployment),
				tx.InsertInstance(ctx, f.Instance), tx.InsertRoute(ctx, f.Route), tx.InsertEvent(ctx, f.Event),
			} {
				if err != nil {
					return err
				}
			}
		}
		return nil
	}))
	must(b, s.Close())
	return path
}

func BenchmarkOpen_ThousandApps(b *testing.B) {
	path := thousandApps(b)
	for b.Loop() {
		s, err := store.Open(b.Context(), path)
		must(b, err)
		must(b, s.Close())
	}
}

func BenchmarkList_ThousandApps(b *testing.B) {
	s := openAt(b, thousandApps(b))
	ctx := b.Context()
	b.Run("apps", func(b *testing.B) {
		for b.Loop() {
			_, n, err := s.Apps(ctx, store.Query{})
			if must(b, err); n != 1000 {
				b.Fatal(n)
			}
		}
	})
	b.Run("routes", func(b *testing.B) {
		for b.Loop() {
			_, _, err := s.Routes(ctx, store.Query{})
			must(b, err)
		}
	})
	b.Run("one", func(b *testing.B) {
		apps, _, err := s.Apps(ctx, store.Query{PerPage: 1})
		must(b, err)
		for b.Loop() {
			_, err := s.App(ctx, apps[0].GUID)
			must(b, err)
		}
	})
	b.Run("live digests", func(b *testing.B) {
		for b.Loop() {
			_, err := s.LiveDropletDigests(ctx)
			must(b, err)
			_, err = s.LivePackageDigests(ctx)
			must(b, err)
		}
	})
	b.Run("commit", func(b *testing.B) {
		for b.Loop() {
			must(b, s.InsertEvent(ctx, platform.Event{Resource: platform.NewResource(time.Now())}))
		}
	})
}
