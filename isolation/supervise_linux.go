package isolation

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// killSignal tells an init to kill its program and everything that came of it.
const killSignal = unix.SIGUSR1

// event is something that happened inside the init and ends the instance.
type event int

const (
	outOfMemory event = iota
	timedOut
)

// supervise waits for the end of the program, and forwards what it is told.
// When it returns, nothing of the instance runs but this init.
func (in *initProcess) supervise() Exit {
	if in.plan.MemoryMB > 0 {
		go in.watchMemory()
	}
	if in.plan.Timeout > 0 {
		time.AfterFunc(in.plan.Timeout, func() { in.events <- timedOut })
	}
	exit := Exit{Source: SourceRecord}
	for {
		select {
		case sig := <-in.signals:
			switch sig {
			case unix.SIGCHLD:
				if ws, ended := in.reap(); ended {
					exit.At = time.Now()
					in.finish(&exit, ws)
					return exit
				}
			case unix.SIGTERM:
				exit.Stopped = true
				in.terminate()
			case killSignal:
				exit.Stopped, exit.Forced = true, true
				in.killAll()
			}
		case e := <-in.events:
			exit.OOM = exit.OOM || e == outOfMemory
			exit.TimedOut = exit.TimedOut || e == timedOut
			in.killAll()
		}
	}
}

// finish fills the exit in and ends what the program left running.
func (in *initProcess) finish(exit *Exit, ws unix.WaitStatus) {
	in.killTree()
	exit.Code = ws.ExitStatus() // -1 for a signal
	if ws.Signaled() {
		exit.Signal = unix.SignalName(ws.Signal())
	}
	exit.OOM = exit.OOM || in.plan.Groups.oomKills() > 0
}

// reap takes all zombies and reports whether the program was among them.
func (in *initProcess) reap() (status unix.WaitStatus, ended bool) {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return status, ended
		}
		if pid == in.pid {
			status, ended = ws, true
		}
	}
}

// terminate sends SIGTERM to every process group of the program's session,
// once. A shell that does job control has several.
func (in *initProcess) terminate() {
	unix.Kill(-in.pid, unix.SIGTERM)
	procs, err := readProcs()
	if err != nil {
		return
	}
	told := map[int]bool{in.pid: true}
	for pid, st := range procs {
		if st.session != in.pid {
			continue
		}
		if group, err := unix.Getpgid(pid); err == nil && !told[group] {
			told[group] = true
			unix.Kill(-group, unix.SIGTERM)
		}
	}
}

// killAll sends SIGKILL to everything in the instance but this init. It
// reports whether there may be more.
func (in *initProcess) killAll() bool {
	if in.plan.Groups.V2 != "" && in.plan.Groups.kill() == nil {
		return false
	}
	if in.plan.Namespaces && os.Getpid() == 1 {
		unix.Kill(-1, unix.SIGKILL) // everything in our pid namespace
		return false
	}
	procs, err := readProcs()
	if err != nil && in.pid > 0 {
		unix.Kill(-in.pid, unix.SIGKILL)
	}
	for _, pid := range descendants(procs, os.Getpid()) {
		unix.Kill(pid, unix.SIGKILL)
	}
	return true // what was forked meanwhile
}

// killTree ends everything in the instance but this init, and reaps it. Being
// PID 1 or subreaper, the init is the parent of whatever lost its own.
func (in *initProcess) killTree() {
	for {
		more := in.killAll()
		flags := 0
		if more {
			flags = unix.WNOHANG
		}
		for {
			pid, err := unix.Wait4(-1, nil, flags, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if errors.Is(err, unix.ECHILD) {
				return
			}
			if err != nil || pid == 0 {
				break
			}
		}
		time.Sleep(time.Millisecond) // a fork that won the race is killed next round
	}
}

// descendants returns the processes below one, children before grandchildren.
func descendants(procs map[int]procStat, root int) []int {
	children := map[int][]int{}
	for pid, st := range procs {
		children[st.ppid] = append(children[st.ppid], pid)
	}
	all := children[root]
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// exitFile is the name of the exit record.
const exitFile = "exit.json"

// writeExit writes the exit record into an open directory: whole or not at all.
func writeExit(dirFD int, exit Exit) error {
	b, err := json.Marshal(exit)
	if err != nil {
		return err
	}
	const tmp = exitFile + ".tmp"
	fd, err := unix.Openat(dirFD, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return os.NewSyscallError("openat", err)
	}
	f := os.NewFile(uintptr(fd), tmp)
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.NewSyscallError("renameat", unix.Renameat(dirFD, tmp, dirFD, exitFile))
}

// readExit reads the exit record in dir.
func readExit(dir string) (Exit, error) {
	b, err := os.ReadFile(filepath.Join(dir, exitFile))
	if err != nil {
		return Exit{}, err
	}
	var e Exit
	if err := json.Unmarshal(b, &e); err != nil {
		return Exit{}, fmt.Errorf("reading %s: %w", exitFile, err)
	}
	return e, nil
}
