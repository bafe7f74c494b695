package buildpacks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// lingering is how long the output of a script that has ended is still waited
// for: a daemon it left behind may hold the pipe for ever.
const lingering = 2 * time.Second

// script runs one of the buildpack's scripts with its output shown, and turns
// a failure into the result's code and message.
func (b *build) script(p *pack, name string, code int, args ...string) error {
	last := &tail{}
	err := b.exec(p, name, io.MultiWriter(b.out, last), nil, args...)
	if err == nil {
		return nil
	}
	b.result.Code, b.result.Pack, b.result.Script, b.result.Tail = code, p.Name, name, last.lines()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOEXEC) {
			return fmt.Errorf("bin/%s of buildpack %s could not be started: %w (is its first line an interpreter of this machine?)", name, p.Name, err)
		}
		return fmt.Errorf("bin/%s of buildpack %s: %w", name, p.Name, err)
	}
	b.result.ExitStatus = exit.ExitCode()
	how := fmt.Sprintf("exited with status %d", exit.ExitCode())
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		how = "was ended by " + status.Signal().String()
	}
	return fmt.Errorf("bin/%s of buildpack %s %s", name, p.Name, how)
}

// exec runs a script in the buildpack's own directory, which public
// buildpacks rely on. Standard error goes where out goes when errOut is nil,
// so that the order of lines is kept.
func (b *build) exec(p *pack, name string, out, errOut io.Writer, args ...string) error {
	if errOut == nil {
		errOut = out
	}
	cmd := exec.CommandContext(b.ctx, p.path(name), args...)
	cmd.Dir, cmd.Env = p.dir, b.env
	cmd.Stdout, cmd.Stderr = out, errOut
	cmd.WaitDelay = lingering
	start := time.Now()
	err := cmd.Run()
	b.mu.Lock()
	b.scriptTime += time.Since(start)
	b.mu.Unlock()
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // the script itself ended well
	}
	return err
}

// maxTail bounds what is kept of a script's last lines.
const (
	maxTailLines = 12
	maxTailBytes = 4 << 10
)

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex // guards buf
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(p) > maxTailBytes {
		t.buf = append(t.buf[:0], p[len(p)-maxTailBytes:]...)
		return len(p), nil
	}
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - maxTailBytes; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for line := range bytes.Lines(t.buf) {
		if s := strings.ToValidUTF8(strings.TrimSpace(string(line)), "\ufffd"); s != "" {
			lines = append(lines, s)
		}
	}
	return lines[max(0, len(lines)-maxTailLines):]
}

// RemoveAll removes a tree even where directories are read-only, as those of
// Go's module cache may be.
func RemoveAll(path string) error {
	if err := os.RemoveAll(path); err == nil {
		return nil
	}
	filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(path)
}
