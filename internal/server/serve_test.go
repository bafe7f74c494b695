package server

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The router may not make files in a directory of root's, so the keeper does
// it when a log was moved away.
func TestKeepAccessLog_MakesAnotherWhenOneWasMovedAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only as root is the router somebody else")
	}
	cfg := Config{AccessLog: filepath.Join(t.TempDir(), "access.log"), UID: 199999}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- keepAccessLog(ctx, cfg, slog.New(slog.DiscardHandler), time.Millisecond) }()
	for range 2 {
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if os.Rename(cfg.AccessLog, cfg.AccessLog+".1") == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatal("no file was made in a minute")
			}
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
