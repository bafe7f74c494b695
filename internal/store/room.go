package store

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// roomBytes is what KeepRoom keeps free: thousands of changes.
const roomBytes = 4 << 20

// KeepRoom sees to it that there is room inside the database, in its file and
// in its write-ahead log, that changes take up before they need the disk: so
// apps can be stopped and deleted while it is full. Where there is enough it
// changes nothing. It is to be called at the start, when the log is short, and
// now and then.
func (s *Store) KeepRoom(ctx context.Context) error {
	enough, err := s.hasRoom(ctx)
	if err != nil || enough {
		return err
	}
	// What takes the room up is copied to the file before it is deleted again:
	// pages that are free by then would never be written. Each step is worth
	// taking, also if the one before has failed.
	var errs []error
	for _, step := range []string{
		fmt.Sprintf("INSERT INTO settings (name, value) VALUES ('room', zeroblob(%d)) ON CONFLICT (name) DO UPDATE SET value = excluded.value", roomBytes),
		"PRAGMA wal_checkpoint(PASSIVE)",
		"DELETE FROM settings WHERE name = 'room'",
		"PRAGMA wal_checkpoint(PASSIVE)",
	} {
		if _, err := s.writer.ExecContext(ctx, step); err != nil {
			errs = append(errs, fmt.Errorf("making room inside the database: %w", s.dialect.explain(err)))
		}
	}
	return errors.Join(errs...)
}

// hasRoom reports whether half of the room is there at least.
func (s *Store) hasRoom(ctx context.Context) (bool, error) {
	var free int64
	var path string
	err := s.writer.QueryRowContext(ctx, `
		SELECT (SELECT freelist_count FROM pragma_freelist_count) * (SELECT page_size FROM pragma_page_size),
			(SELECT file FROM pragma_database_list WHERE name = 'main')`).Scan(&free, &path)
	if err != nil {
		return false, fmt.Errorf("looking for room inside the database: %w", s.dialect.explain(err))
	}
	log, err := os.Stat(path + "-wal")
	if err != nil {
		return false, err
	}
	return free >= roomBytes/2 && log.Size() >= roomBytes/2, nil
}
