package isolation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Instance is a started program, or one that ended and was not removed. Wait
// is for one goroutine; the other methods are for any.
type Instance struct {
	host  *Host
	dir   string
	state state
	init  *Process // nil if it ended before it was adopted
	// held keeps the FIFOs' content for a reader that is late. They are bare
	// descriptors: an os.File would wake us at each line.
	held []int
	disk diskMeter
}

// state is what has to be known to adopt an instance. It is in stateFile.
type state struct {
	Init   Identity       `json:"init"`
	PID    int            `json:"pid"` // the program's; 0 if we died before we knew it
	Start  uint64         `json:"start,omitempty"`
	Root   bool           `json:"root"`
	Groups instanceGroups `json:"groups"`
	Spec   specSummary    `json:"spec"`
}

const stateFile = "init.json"

// specSummary is what stays of a Spec: no arguments, no environment.
type specSummary struct {
	Tree     string        `json:"tree,omitempty"`
	Root     string        `json:"root,omitempty"`
	MemoryMB int           `json:"memory_mb,omitempty"`
	Timeout  time.Duration `json:"timeout,omitempty"`
}

func summary(s Spec) specSummary {
	return specSummary{Tree: s.Tree, Root: s.Root, MemoryMB: s.MemoryMB, Timeout: s.Timeout}
}

// PID returns the program's process ID as this process sees it, 0 if unknown.
func (i *Instance) PID() int { return i.state.PID }

// Reason says in words how the instance ended.
func (i *Instance) Reason(e Exit) string {
	return e.Reason(i.state.Spec.MemoryMB, i.state.Spec.Timeout)
}

// Adopt returns the instance of that ID that somebody else started with the
// same Config.Dir, running or ended; ErrNotFound if its program never ran.
func (h *Host) Adopt(id string) (*Instance, error) {
	if !ValidID(id) {
		return nil, fmt.Errorf("invalid instance ID %q", id)
	}
	inst := &Instance{host: h, dir: filepath.Join(h.cfg.Dir, id)}
	b, err := os.ReadFile(filepath.Join(inst.dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &inst.state); err != nil {
		return nil, fmt.Errorf("reading %s: %w", stateFile, err)
	}
	inst.init, err = Find(inst.state.Init)
	if err != nil && !errors.Is(err, ErrGone) {
		return nil, err
	}
	if err := inst.holdFIFOs(); err != nil {
		inst.release()
		return nil, err
	}
	if inst.init != nil && inst.state.PID == 0 {
		inst.findProgram()
	}
	return inst, nil
}

// findProgram looks for the init's first child, when whoever started it died
// before it was told.
func (i *Instance) findProgram() {
	procs, err := readProcs()
	if err != nil {
		return
	}
	for pid, st := range procs {
		if st.ppid == i.state.Init.PID && (i.state.PID == 0 || st.start < procs[i.state.PID].start) {
			i.state.PID, i.state.Start = pid, st.start
		}
	}
}

func (i *Instance) writeState() error {
	if st, err := readStat(i.state.PID); i.state.PID > 0 && err == nil {
		i.state.Start = st.start
	}
	b, err := json.Marshal(i.state)
	if err != nil {
		return err
	}
	path := filepath.Join(i.dir, stateFile)
	if err := os.WriteFile(path+".tmp", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// makeFIFOs makes them such that the program can open its own output again
// (/dev/stdout) and the reader, of the group LogGID, can read it.
func (i *Instance) makeFIFOs(s Spec, root bool) error {
	for _, name := range []string{"stdout", "stderr"} {
		path := filepath.Join(i.dir, name)
		if err := unix.Mkfifo(path, 0o600); err != nil {
			return fmt.Errorf("making the log pipe: %w", err)
		}
		if !root {
			continue
		}
		if err := os.Lchown(path, s.UID, s.LogGID); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o660); err != nil {
			return err
		}
	}
	return i.holdFIFOs()
}

// The size of the pipes to the log. What an ordinary user has in all pipes is
// limited (64 MiB), and his other programs want some of it.
const (
	pipeSize     = 1 << 20
	pipeSizeUser = 256 << 10
)

func (i *Instance) holdFIFOs() error {
	size := pipeSize
	if !i.host.caps.Root {
		size = pipeSizeUser
	}
	for _, name := range []string{"stdout", "stderr"} {
		fd, err := unix.Open(filepath.Join(i.dir, name), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening the log pipe: %w", err)
		}
		i.held = append(i.held, fd)
		unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, size) // what it is is good enough
	}
	return nil
}

// release closes what the handle holds.
func (i *Instance) release() {
	for _, fd := range i.held {
		unix.Close(fd)
	}
	i.held = nil
	if i.init != nil {
		i.init.Close()
	}
}

// Close gives the handle back; the instance goes on, to be adopted. Nothing
// may be called after it.
func (i *Instance) Close() { i.release() }

// Terminate asks the program to end: SIGTERM to all of its session.
func (i *Instance) Terminate() { i.signal(unix.SIGTERM) }

// Kill kills the program and everything that came of it.
func (i *Instance) Kill() { i.signal(killSignal) }

// Destroy kills the init as well, for one that does not react to Kill.
func (i *Instance) Destroy() {
	i.state.Groups.kill()
	i.signal(unix.SIGKILL)
}

func (i *Instance) signal(sig syscall.Signal) {
	if i.init != nil {
		i.init.Signal(sig) // the only possible error is that it ended
	}
}

// Wait blocks until nothing of the instance runs any more, and returns how it
// ended. An error means that ctx ended first.
func (i *Instance) Wait(ctx context.Context) (Exit, error) {
	if i.init == nil {
		return i.settle(0, false), nil
	}
	if err := i.init.Wait(ctx); err != nil {
		return Exit{}, err
	}
	ws, known := i.init.Reap()
	return i.settle(ws, known), nil
}

// settle finds out how the instance ended, from the best source there is, and
// clears up what an init that was killed could not.
func (i *Instance) settle(ws syscall.WaitStatus, known bool) Exit {
	exit, err := readExit(i.dir)
	if err != nil {
		exit = i.inferExit(ws, known)
		i.state.Groups.kill()
		i.killSession()
		if fd, err := unix.Open(i.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			writeExit(fd, exit) // so that the next one to ask hears the same
			unix.Close(fd)
		}
	}
	if err := i.state.Groups.remove(2 * time.Second); err != nil {
		i.host.cfg.Logger.Warn("cgroup of an instance stays", "instance", filepath.Base(i.dir), "err", err)
	}
	return exit
}

func (i *Instance) inferExit(ws syscall.WaitStatus, known bool) Exit {
	exit := Exit{Code: -1, At: time.Now(), Source: SourceInferred}
	if !known && i.init != nil {
		ws, known = i.init.exitStatus(100 * time.Millisecond)
	}
	if known {
		exit.Source, exit.Code = SourcePidfd, ws.ExitStatus()
		if ws.Signaled() {
			exit.Signal = unix.SignalName(ws.Signal())
		}
	}
	if log, err := os.ReadFile(filepath.Join(i.dir, "init.log")); err == nil && len(log) > 0 {
		i.host.cfg.Logger.Error("init of an instance failed", "instance", filepath.Base(i.dir), "log", string(log[:min(len(log), 4096)]))
	}
	exit.OOM = i.state.Groups.oomKills() > 0
	return exit
}

// killSession kills what is left of the program's session when the init died
// without a pid namespace, which would have taken everything with it.
func (i *Instance) killSession() {
	procs, err := readProcs()
	if err != nil || i.state.PID == 0 || i.state.Init.Boot != currentBoot() {
		return
	}
	// As long as the session has members its ID is not given away; only a
	// leader that is not ours would mean that it was.
	if leader, ok := procs[i.state.PID]; ok && leader.start != i.state.Start {
		return
	}
	for pid, st := range procs {
		if st.session == i.state.PID && st.start >= i.state.Start {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

func currentBoot() string {
	boot, _ := bootID()
	return boot
}

// discard undoes a start that failed.
func (i *Instance) discard() {
	if i.init != nil {
		i.Destroy()
		i.init.Wait(context.Background()) // a killed init is gone at once
		i.init.Reap()
	}
	i.state.Groups.kill()
	i.state.Groups.remove(2 * time.Second)
	i.Remove()
}

// Remove deletes the directory of an instance that ended. Nothing may be
// called after it.
func (i *Instance) Remove() error {
	i.release()
	return removeTree(i.dir)
}

// RemoveLeftover deletes the directory of an instance that Adopt does not find.
func (h *Host) RemoveLeftover(id string) error {
	if !ValidID(id) {
		return fmt.Errorf("invalid instance ID %q", id)
	}
	return removeTree(filepath.Join(h.cfg.Dir, id))
}
