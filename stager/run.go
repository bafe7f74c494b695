package stager

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"weir/buildpacks"
	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/runner"
)

// task is what a runner is asked to do in a stage.
type task struct {
	guid     string // of the instance
	app      string // whose log gets the output
	stage    string
	env      func(runner.Endpoint) []string
	memoryMB int
	diskMB   int
	// alive is asked now and then; an error ends the task.
	alive func(context.Context) error
}

var (
	errTimeout  = errors.New("task took too long")
	errNoResult = errors.New("task ended without a result")
)

// runIn runs the buildpacks in a stage, to the end or until it is ended, and
// returns what they did. Nothing of it runs any more then.
func (s *Stager) runIn(ctx context.Context, t task) (buildpacks.Result, platform.Exit, error) {
	ended := s.expect(t.guid)
	defer s.forget(t.guid)
	// An attempt that was cut off may have left its instance.
	if err := s.discard(ctx, t.guid); err != nil {
		return buildpacks.Result{}, platform.Exit{}, err
	}
	_, err := s.cfg.Runner.Start(ctx, runner.Spec{
		GUID: t.guid, AppGUID: t.app,
		Root: t.stage, Dir: ".", Args: []string{s.cfg.Exe, "buildpack-build", "."},
		Env: t.env, MemoryMB: t.memoryMB, DiskMB: t.diskMB, Background: true,
		Grace: time.Second,
		// The stager ends a build that takes too long; this is for the case
		// that there is no stager then.
		Timeout: s.cfg.Timeout + time.Minute,
	})
	if err != nil {
		return buildpacks.Result{}, platform.Exit{}, fmt.Errorf("starting the build: %w", err)
	}
	copied := s.copyOutput(ctx, t)
	exit, err := s.wait(ctx, t, ended)
	if err != nil {
		s.stop(ctx, t.guid)
	}
	copied()
	if discarding := s.discard(context.WithoutCancel(ctx), t.guid); discarding != nil {
		s.cfg.Logger.Error("instance of a build was not removed", "build", t.guid, "err", discarding)
	}
	if err != nil {
		return buildpacks.Result{}, exit, err
	}
	result, err := buildpacks.ReadResult(t.stage)
	if err != nil || exit.Code < 0 {
		return result, exit, errNoResult
	}
	return result, exit, nil
}

// expect says that somebody waits for the end of an instance.
func (s *Stager) expect(guid string) <-chan platform.Exit {
	ended := make(chan platform.Exit, 1) // the watcher never waits for us
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[guid] = ended
	return ended
}

func (s *Stager) forget(guid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ends, guid)
}

// wait returns how the task ended, or why it is not waited for any longer.
func (s *Stager) wait(ctx context.Context, t task, ended <-chan platform.Exit) (platform.Exit, error) {
	timeout := time.NewTimer(s.cfg.Timeout)
	defer timeout.Stop()
	look := time.NewTicker(2 * time.Second)
	defer look.Stop()
	for {
		select {
		case exit := <-ended:
			return exit, nil
		case <-timeout.C:
			return platform.Exit{}, errTimeout
		case <-look.C:
			if err := t.alive(ctx); err != nil {
				return platform.Exit{}, err
			}
		case <-ctx.Done():
			return platform.Exit{}, ctx.Err()
		}
	}
}

// copyOutput copies what the task writes to the app's log while it runs. The
// function it returns waits for the rest.
func (s *Stager) copyOutput(ctx context.Context, t task) (wait func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stdout, stderr := s.cfg.Runner.Logs(t.guid)
	var wg sync.WaitGroup
	for path, isErr := range map[string]bool{stdout: false, stderr: true} {
		w := s.cfg.Logs.Writer(t.app, stagingLog, "0", isErr)
		wg.Go(func() {
			if err := logs.CopyFIFO(ctx, path, w); err != nil {
				s.cfg.Logger.Warn("output of a build was not read", "build", t.guid, "err", err)
			}
		})
	}
	return func() {
		// All writers are dead; only a full pipe is still to be read.
		timer := time.AfterFunc(5*time.Second, cancel)
		wg.Wait()
		timer.Stop()
		cancel()
	}
}

// stop ends an instance. It is not given up when ctx ends, for nothing may
// stay behind.
func (s *Stager) stop(ctx context.Context, guid string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := s.cfg.Runner.Stop(ctx, guid, time.Second); err != nil {
		s.cfg.Logger.Error("build was not stopped", "build", guid, "err", err)
	}
}

// discard stops and forgets an instance, if there is one.
func (s *Stager) discard(ctx context.Context, guid string) error {
	s.stop(ctx, guid)
	return s.cfg.Runner.Remove(ctx, guid)
}
