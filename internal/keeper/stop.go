package keeper

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
)

// destroyAfter is how long a killed instance may take to be gone before its
// init is killed as well.
const destroyAfter = 3 * time.Second

// stop ends an instance and returns when nothing of it runs. Of several stops
// at the same time the first sends SIGTERM, the one with the shortest grace
// kills.
func (t *instanceTable) stop(inst *instance, grace time.Duration) error {
	if grace <= 0 {
		grace = inst.meta.Grace
	}
	if grace <= 0 {
		grace = runner.DefaultGrace
	}
	inst.mu.Lock()
	first := !inst.stopping
	inst.stopping = true
	inst.mu.Unlock()
	if first {
		inst.iso.Terminate()
	}
	for _, step := range []struct {
		wait time.Duration
		then func()
	}{
		{grace, inst.iso.Kill},
		{destroyAfter, inst.iso.Destroy},
		{destroyAfter, func() {}},
	} {
		if inst.endsWithin(step.wait) {
			return nil
		}
		step.then()
	}
	return &platform.Error{
		Kind: platform.KindInternal,
		Msg:  fmt.Sprintf("instance %q does not end, though it was killed", inst.meta.Status.GUID),
		Hint: "a process may hang in the kernel, waiting for a disk",
	}
}

func (inst *instance) endsWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-inst.ended:
		return true
	case <-timer.C:
		return false
	}
}

func (inst *instance) hasEnded() bool {
	select {
	case <-inst.ended:
		return true
	default:
		return false
	}
}

// list returns all that were started, by GUID.
func (t *instanceTable) list() []runner.Status {
	var all []runner.Status
	for _, inst := range t.started() {
		inst.mu.Lock()
		all = append(all, inst.status)
		inst.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b runner.Status) int { return strings.Compare(a.GUID, b.GUID) })
	return all
}

func (t *instanceTable) started() []*instance {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*instance
	for _, inst := range t.instances {
		if inst.iso != nil {
			all = append(all, inst)
		}
	}
	return all
}

// minSample is the shortest time that a CPU rate is computed over.
const minSample = 500 * time.Millisecond

func (t *instanceTable) stats(guid string) (runner.Stats, error) {
	inst := t.find(guid)
	if inst == nil || inst.hasEnded() {
		return runner.Stats{}, platform.NotFound("Instance")
	}
	u, err := inst.iso.Usage()
	if err != nil {
		return runner.Stats{}, err
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	now := sample{at: time.Now(), cpu: u.CPUTime, rate: inst.last.rate}
	since := inst.last.at
	if since.IsZero() {
		since = inst.status.StartedAt
	}
	if d := now.at.Sub(since); d >= minSample || inst.last.at.IsZero() {
		now.rate = max(float64(now.cpu-inst.last.cpu)/float64(max(d, time.Millisecond)), 0)
		inst.last = now
	}
	return runner.Stats{CPU: now.rate, MemoryBytes: u.MemoryBytes, DiskBytes: u.DiskBytes, FDs: u.FDs}, nil
}

// setBackground has an instance give way to others, or no longer.
func (t *instanceTable) setBackground(guid string, on bool) error {
	inst := t.find(guid)
	if inst == nil || inst.hasEnded() {
		return platform.NotFound("Instance")
	}
	if err := inst.iso.SetBackground(on); err != nil {
		return err
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	inst.status.Background = on
	return nil
}

// close refuses starts from now on, and waits for those that have begun.
func (t *instanceTable) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.starting.Wait()
}

// stopAll stops all instances at the same time, and removes them.
func (t *instanceTable) stopAll() {
	var wg sync.WaitGroup
	for _, inst := range t.started() {
		wg.Go(func() {
			err := t.stop(inst, 0)
			if err == nil {
				err = t.remove(inst.meta.Status.GUID)
			}
			if err != nil {
				t.cfg.Logger.Error("instance stays", "instance", inst.meta.Status.GUID, "err", err)
			}
		})
	}
	wg.Wait()
}

// release lets go of all instances; they go on.
func (t *instanceTable) release() {
	for _, inst := range t.started() {
		inst.iso.Close()
	}
}
