package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/internal/platform"
	"weir/internal/store"
)

func TestTx_RollsBackOnErrorAndPanic(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	app := newApp(t, s, "shop")
	boom := errors.New("boom")
	err := s.Tx(ctx, func(tx *store.Tx) error {
		must(t, tx.InsertApp(ctx, app))
		if _, err := tx.App(ctx, app.GUID); err != nil {
			t.Errorf("a transaction does not see its own row: %v", err)
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v, want the error of fn", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = s.Tx(ctx, func(tx *store.Tx) error {
			must(t, tx.InsertApp(ctx, app))
			panic("boom")
		})
	}()
	cancelled, cancel := context.WithCancel(ctx)
	err = s.Tx(cancelled, func(tx *store.Tx) error {
		err := tx.InsertApp(ctx, app)
		cancel()
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := s.App(ctx, app.GUID); platform.KindOf(err) != platform.KindNotFound {
		t.Errorf("a row survived its transaction: %v", err)
	}
	must(t, s.InsertApp(ctx, app)) // and the writer is free again
}

func TestView_IsOneSnapshotAndRefusesWrites(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	insertApp(t, s, "a")
	err := s.View(ctx, func(tx *store.Tx) error {
		_, before, err := tx.Apps(ctx, store.Query{})
		must(t, err)
		insertApp(t, s, "b")
		_, after, err := tx.Apps(ctx, store.Query{})
		must(t, err)
		if before != 1 || after != 1 {
			t.Errorf("saw %d, then %d apps in one snapshot", before, after)
		}
		return tx.DeleteApp(ctx, "none")
	})
	if err == nil || platform.KindOf(err) == platform.KindNotFound {
		t.Errorf("a write inside View: %v, want a refusal", err)
	}
}

func TestWait_WakesOnCommitAndEndsWithContext(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	app := newApp(t, s, "shop")
	var evaluated atomic.Int32
	done := make(chan error, 1)
	go func() {
		done <- s.Wait(ctx, func(ctx context.Context) (bool, error) {
			evaluated.Add(1)
			_, err := s.App(ctx, app.GUID)
			if platform.KindOf(err) == platform.KindNotFound {
				return false, nil
			}
			return err == nil, err
		})
	}()
	for evaluated.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	must(t, s.SetSetting(ctx, "a", "b")) // counts for nobody
	_, err := s.NextTableNumber(ctx)
	must(t, err)
	must(t, s.Tx(ctx, func(*store.Tx) error { return nil }))
	select {
	case <-s.Changed():
		t.Error("a change was announced where there was none")
	default:
	}
	changed := s.Changed()
	must(t, s.InsertApp(ctx, app))
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(time.Minute):
		t.Fatal("Wait did not wake")
	}
	select {
	case <-changed:
	default:
		t.Error("Changed was not closed by a commit")
	}

	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	err = s.Wait(short, func(context.Context) (bool, error) { return false, nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of the context", err)
	}
}

func TestStore_ManyWritersAndReadersNeverSeeBusy(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx := t.Context()
	s, err := store.Open(ctx, filepath.Join(t.TempDir(), "weir.db"))
	must(t, err)
	must(t, s.EnsureDefaults(ctx, "apps.localhost"))
	app := insertApp(t, s, "shop")
	must(t, s.InsertProcess(ctx, platform.NewProcess(platform.NewResource(start), app.GUID, "web")))
	const writers, rounds = 8, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range rounds {
				err := s.Tx(ctx, func(tx *store.Tx) error { // read, then write: lost updates would show
					p, err := tx.ProcessByType(ctx, app.GUID, "web")
					if err != nil {
						return err
					}
					p.Instances++
					if err := tx.UpdateProcess(ctx, p); err != nil {
						return err
					}
					return tx.InsertEvent(ctx, platform.Event{Resource: platform.NewResource(start), Type: fmt.Sprint(w)})
				})
				if err != nil {
					t.Errorf("writing: %v", err)
				}
			}
		})
		wg.Go(func() {
			for range rounds {
				err := s.View(ctx, func(tx *store.Tx) error {
					p, err := tx.ProcessByType(ctx, app.GUID, "web")
					if err != nil {
						return err
					}
					if _, n, err := tx.Events(ctx, store.Query{}); err != nil || n != p.Instances-1 {
						return fmt.Errorf("%d events beside %d instances: %w", n, p.Instances, err)
					}
					return nil
				})
				if err != nil {
					t.Errorf("reading: %v", err)
				}
			}
		})
	}
	wg.Wait()
	p, err := s.ProcessByType(ctx, app.GUID, "web")
	must(t, err)
	if want := 1 + writers*rounds; p.Instances != want {
		t.Errorf("%d instances, want %d: updates were lost", p.Instances, want)
	}
	must(t, s.Close())
}

// Somebody looks into the database with another program and keeps it locked.
func TestStore_AForeignLockIsUnavailableNotBusy(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "weir.db")
	s := openAt(t, path)
	must(t, s.EnsureDefaults(ctx, "apps.localhost"))
	app := newApp(t, s, "shop")
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	must(t, err)
	defer db.Close()
	other, err := db.Begin()
	must(t, err)
	err = s.InsertApp(ctx, app)
	if e, ok := errors.AsType[*platform.Error](err); !ok || e.Kind != platform.KindUnavailable || e.Msg != "the database is locked by another program" {
		t.Errorf("got %v", err)
	}
	if _, _, err := s.Apps(ctx, store.Query{}); err != nil {
		t.Errorf("reading goes on: %v", err)
	}
	must(t, other.Rollback())
	must(t, s.InsertApp(ctx, app))
}
