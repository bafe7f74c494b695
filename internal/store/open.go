package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/pressly/goose/v3"

	"weir/internal/platform"
)

// Reasons for Open to refuse. They are the cause of a *platform.Error that
// says what to do.
var (
	// ErrNewerSchema says that a later weir has written the database.
	ErrNewerSchema = errors.New("store: schema is newer than this program")
	// ErrForeign says that the file is not a database of weir.
	ErrForeign = errors.New("store: not a database of weir")
	// ErrDamaged says that the database is not consistent.
	ErrDamaged = errors.New("store: database is damaged")
	// ErrLost says that there is data of apps, but no database.
	ErrLost = errors.New("store: database is missing")
)

// applicationID marks a SQLite file as ours: "weir".
const applicationID = 0x77656972

// versionTable holds the versions of the schema that were applied.
const versionTable = "schema_version"

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one step of the schema, numbered by the name of its file.
type migration struct {
	version int64
	sql     string
}

// Open opens the database at path, makes it if there is none yet, and brings
// its schema up to date. It leaves a file untouched that it refuses.
//
// That only one process does so is for the caller to ensure.
func Open(ctx context.Context, path string) (*Store, error) {
	steps, err := migrations()
	if err != nil {
		return nil, err
	}
	return open(ctx, path, steps)
}

func open(ctx context.Context, path string, steps []migration) (_ *Store, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := prepareFile(ctx, path, steps[len(steps)-1].version); err != nil {
		return nil, err
	}
	s := &Store{dialect: sqliteDialect(), maxWait: 30 * time.Second, changed: make(chan struct{})}
	s.Rows = Rows{s}
	if s.writer, err = openCached(sqliteWriter(path)); err != nil {
		return nil, err
	}
	s.writer.SetMaxOpenConns(1)
	if s.reader, err = openCached(sqliteReader(path)); err != nil {
		return nil, errors.Join(err, s.writer.Close())
	}
	s.reader.SetMaxOpenConns(max(4, 2*runtime.NumCPU()))
	s.reader.SetMaxIdleConns(4)
	s.reader.SetConnMaxIdleTime(time.Minute)
	if err := s.migrate(ctx, steps); err != nil {
		return nil, errors.Join(fmt.Errorf("bringing the database %s up to date: %w", path, s.dialect.explain(err)), s.Close())
	}
	return s, nil
}

// migrations returns the steps of the schema in order.
func migrations() ([]migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var steps []migration
	for _, name := range names { // Glob sorts
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, err
		}
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, migration{version, string(text)})
	}
	return steps, nil
}

// migrate applies the steps that the database has not seen, each in a
// transaction with its entry in the version table.
func (s *Store) migrate(ctx context.Context, steps []migration) error {
	var list []*goose.Migration
	for _, step := range steps {
		run := func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, s.dialect.schema.Replace(step.sql))
			return err
		}
		list = append(list, goose.NewGoMigration(step.version, &goose.GoFunc{RunTx: run}, nil))
	}
	provider, err := goose.NewProvider(
		goose.DialectSQLite3, s.writer, nil,
		goose.WithGoMigrations(list...),
		goose.WithDisableGlobalRegistry(true),
		goose.WithTableName(versionTable),
	)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// prepareFile makes sure that path is a database this program may open, or an
// empty file where there was none.
func prepareFile(ctx context.Context, path string, newest int64) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return createFile(path)
	case err != nil:
		return fmt.Errorf("opening the database: %w", err)
	case !info.Mode().IsRegular():
		return foreign(path, errors.New("not a regular file"))
	case info.Size() == 0:
		return refuseLoss(path, path+"-wal")
	}
	return inspect(ctx, path, newest)
}

// createFile makes an empty database, readable by nobody else.
func createFile(path string) error {
	if err := refuseLoss(path, path+"-wal"); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// refuseLoss looks for what only a platform with apps leaves behind, so that
// an empty database never takes the place of one that went missing. A file of
// evidence counts if it is not empty.
func refuseLoss(path string, evidence ...string) error {
	lost := func(found string) error {
		return &platform.Error{
			Kind: platform.KindInternal,
			Msg:  fmt.Sprintf("the database %s is missing or empty, but %s is there", path, found),
			Hint: "put the database back from a backup; to begin anew, use another data directory",
			Err:  ErrLost,
		}
	}
	for _, name := range evidence {
		if info, err := os.Stat(name); err == nil && info.Size() > 0 {
			return lost(name)
		}
	}
	for _, name := range []string{"instances", "logs", "cache", "staging"} {
		dir := filepath.Join(filepath.Dir(path), name)
		entries, err := os.ReadDir(dir)
		// Under root, instances/ is the keeper's and may only be passed through.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("looking for data of apps: %w", err)
		}
		for _, e := range entries {
			if platform.IsGUID(e.Name()) {
				return lost(filepath.Join(dir, e.Name()))
			}
		}
	}
	return nil
}

// maxChecked is the largest database that is read through before it is used;
// larger ones would hold up the start for seconds.
const maxChecked = 128 << 20

// inspect reads an existing file without changing it and refuses what is not
// ours, not sound, or newer than this program.
func inspect(ctx context.Context, path string, newest int64) error {
	err := inspectWith(ctx, "mode=ro", path, newest)
	if needsRollback(err) {
		// Its writer was killed while it changed the file without the
		// write-ahead log, as on the first start; SQLite undoes that now.
		err = inspectWith(ctx, "mode=rw", path, newest)
	}
	return err
}

func inspectWith(ctx context.Context, mode, path string, newest int64) error {
	db, err := sql.Open("sqlite", sqliteDSN(path, mode, "_pragma=busy_timeout(5000)"))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)

	var application int64
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&application); err != nil {
		return unreadable(path, err)
	}
	var tables, versions int
	row := db.QueryRowContext(ctx, "SELECT COUNT(*), COUNT(CASE WHEN name = ? THEN 1 END) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'", versionTable)
	if err := row.Scan(&tables, &versions); err != nil {
		return unreadable(path, err)
	}
	if tables == versions && application == 0 {
		return refuseLoss(path) // the first start did not get far
	}
	if application != applicationID {
		return foreign(path, fmt.Errorf("application id %#x", application))
	}
	if info, err := os.Stat(path); err == nil && info.Size() <= maxChecked {
		var verdict string
		if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
			return unreadable(path, err)
		}
		if verdict != "ok" {
			return damaged(errors.New(verdict))
		}
	}
	return refuseNewer(ctx, db, path, newest)
}

func refuseNewer(ctx context.Context, db *sql.DB, path string, newest int64) error {
	var version int64
	err := db.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM "+versionTable+" WHERE is_applied").Scan(&version)
	if err != nil {
		return unreadable(path, err)
	}
	if version <= newest {
		return nil
	}
	return &platform.Error{
		Kind: platform.KindInternal,
		Msg:  fmt.Sprintf("the database %s has schema %d, this weir knows up to %d", path, version, newest),
		Hint: "start the newer weir that wrote it, or put back a backup from before the upgrade",
		Err:  ErrNewerSchema,
	}
}

// unreadable sorts out why an existing file could not be read.
func unreadable(path string, err error) error {
	explained := explainSQLite(err)
	if errors.Is(explained, ErrDamaged) && strings.Contains(err.Error(), "not a database") {
		return foreign(path, err)
	}
	return fmt.Errorf("reading the database %s: %w", path, explained)
}

func foreign(path string, err error) error {
	return &platform.Error{
		Kind: platform.KindInternal,
		Msg:  fmt.Sprintf("%s is not a database of weir", path),
		Hint: "move it away and put the right file back, or use another data directory",
		Err:  fmt.Errorf("%w: %w", ErrForeign, err),
	}
}

func damaged(err error) error {
	return &platform.Error{
		Kind: platform.KindInternal,
		Msg:  "the database is damaged",
		Hint: "put it back from a backup",
		Err:  fmt.Errorf("%w: %w", ErrDamaged, err),
	}
}
