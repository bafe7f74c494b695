package stager_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
)

// direct runs builds as plain child processes, in process groups of their
// own: what is left of a runner when isolation is taken away.
type direct struct {
	dir string

	mu      sync.Mutex // guards the following
	running map[string]*child
	watched []chan runner.Event
}

type child struct {
	spec   runner.Spec
	cmd    *exec.Cmd
	ended  chan struct{}
	exit   *platform.Exit
	fifos  []*os.File // open so that unread output outlives the program
	stdout string
	stderr string
}

func newDirect(dir string) *direct { return &direct{dir: dir, running: map[string]*child{}} }

func (d *direct) Start(_ context.Context, s runner.Spec) (runner.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running[s.GUID] != nil {
		return runner.Status{}, &platform.Error{Kind: platform.KindConflict, Msg: "it runs already"}
	}
	c := &child{spec: s, ended: make(chan struct{})}
	c.stdout, c.stderr = d.Logs(s.GUID)
	if err := os.MkdirAll(filepath.Dir(c.stdout), 0o755); err != nil {
		return runner.Status{}, err
	}
	c.cmd = exec.Command(s.Args[0], s.Args[1:]...)
	c.cmd.Dir = filepath.Join(s.Root, s.Dir)
	c.cmd.Env = s.Env(runner.Endpoint{Root: s.Root, Home: c.cmd.Dir})
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var outputs []*os.File
	for _, path := range []string{c.stdout, c.stderr} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			return runner.Status{}, err
		}
		keep, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return runner.Status{}, err
		}
		c.fifos = append(c.fifos, keep)
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return runner.Status{}, err
		}
		defer w.Close()
		outputs = append(outputs, w)
	}
	c.cmd.Stdout, c.cmd.Stderr = outputs[0], outputs[1]
	if err := c.cmd.Start(); err != nil {
		return runner.Status{}, &platform.Error{Kind: platform.KindInvalid, Msg: "it could not be started", Err: err}
	}
	d.running[s.GUID] = c
	go d.reap(c)
	return runner.Status{GUID: s.GUID, Running: true, PID: c.cmd.Process.Pid}, nil
}

func (d *direct) reap(c *child) {
	err := c.cmd.Wait()
	syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	exit := platform.Exit{At: time.Now()}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		exit.Code = e.ExitCode()
		if status := e.Sys().(syscall.WaitStatus); status.Signaled() {
			exit.Code, exit.Signal = -1, status.Signal().String()
		}
		exit.Reason = e.String()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c.exit = &exit
	close(c.ended)
	for _, w := range d.watched {
		w <- runner.Event{GUID: c.spec.GUID, Exit: exit}
	}
}

func (d *direct) Stop(_ context.Context, guid string, _ time.Duration) error {
	d.mu.Lock()
	c := d.running[guid]
	d.mu.Unlock()
	if c == nil {
		return nil
	}
	syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.ended
	return nil
}

func (d *direct) Remove(_ context.Context, guid string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.running[guid]
	if c == nil {
		return nil
	}
	if c.exit == nil {
		return &platform.Error{Kind: platform.KindConflict, Msg: "it still runs"}
	}
	for _, f := range c.fifos {
		f.Close()
	}
	delete(d.running, guid)
	return os.RemoveAll(filepath.Dir(c.stdout))
}

func (d *direct) List(context.Context) ([]runner.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []runner.Status
	for guid, c := range d.running {
		all = append(all, runner.Status{GUID: guid, Running: c.exit == nil, Exit: c.exit})
	}
	return all, nil
}

func (d *direct) Watch(ctx context.Context) (<-chan runner.Event, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ch := make(chan runner.Event, 1000) // more than a test has builds
	for guid, c := range d.running {
		if c.exit != nil {
			ch <- runner.Event{GUID: guid, Exit: *c.exit}
		}
	}
	d.watched = append(d.watched, ch)
	context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, w := range d.watched {
			if w == ch {
				d.watched = append(d.watched[:i], d.watched[i+1:]...)
				close(ch)
				return
			}
		}
	})
	return ch, nil
}

func (d *direct) Logs(guid string) (stdout, stderr string) {
	dir := filepath.Join(d.dir, guid)
	return filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr")
}
