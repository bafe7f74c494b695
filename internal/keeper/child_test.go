package keeper

import (
	"slices"
	"testing"
)

// Who stops a child goes through its processes while the next one may be started.
func TestChild_AStartLeavesThoseWhoStopItTheirProcesses(t *testing.T) {
	running := func() *proc { return &proc{exited: make(chan struct{})} }
	gone, old := running(), running()
	close(gone.exited)
	c := &child{k: New(Config{DataDir: t.TempDir()}), procs: []*proc{gone, old}}
	seen := c.allProcs()
	c.addProc(running())
	if !slices.Equal(seen, []*proc{gone, old}) {
		t.Errorf("there were %p and %p, and they became %v", gone, old, seen)
	}
	if now := c.allProcs(); len(now) != 2 || now[0] != old {
		t.Errorf("after the start there are %v, want %p and the new one", now, old)
	}
}
