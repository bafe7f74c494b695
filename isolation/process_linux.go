package isolation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Identity names a process for good. A process ID alone is given to somebody
// else sooner or later.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
	Boot  string `json:"boot"`  // the kernel's random boot ID
}

// ErrGone is the error of a Find that found nobody.
var ErrGone = errors.New("process is gone")

// bootID is constant while this process lives.
var bootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
})

// Identify returns the identity of a process that is known to be there, such
// as a child that was not waited for.
func Identify(pid int) (Identity, error) {
	boot, err := bootID()
	if err != nil {
		return Identity{}, err
	}
	st, err := readStat(pid)
	if err != nil {
		return Identity{}, err
	}
	return Identity{PID: pid, Start: st.start, Boot: boot}, nil
}

// Process is a handle on a process, parent or not. It stays right when the
// process ID is reused.
type Process struct {
	id Identity
	f  *os.File // the pidfd, in the poller
}

// Find returns a handle on the process of that identity, ErrGone if it ended.
// A zombie counts as ended. The caller closes it.
func Find(id Identity) (*Process, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	if id.PID <= 0 || id.Boot != boot {
		return nil, ErrGone
	}
	fd, err := unix.PidfdOpen(id.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, ErrGone // EINVAL: the ID belongs to a thread now
	}
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	p := newProcess(id, fd)
	// Read after the handle was opened: if it is the right start time now, the
	// handle is on the right process.
	if st, err := readStat(id.PID); err != nil || st.start != id.Start || p.ended() {
		p.Close()
		return nil, ErrGone
	}
	return p, nil
}

// newProcess takes over a pidfd in non-blocking mode.
func newProcess(id Identity, pidfd int) *Process {
	return &Process{id: id, f: os.NewFile(uintptr(pidfd), "pidfd")}
}

// Identity returns who it is.
func (p *Process) Identity() Identity { return p.id }

// Close gives the handle back. It does nothing to the process.
func (p *Process) Close() error { return p.f.Close() }

// Signal sends a signal; ErrGone if it ended.
func (p *Process) Signal(sig syscall.Signal) error {
	conn, err := p.f.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	if err != nil {
		return err
	}
	if errors.Is(sent, unix.ESRCH) {
		return ErrGone
	}
	return os.NewSyscallError("pidfd_send_signal", sent)
}

func (p *Process) ended() bool {
	ended := false
	if conn, err := p.f.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { ended = isReadable(int(fd)) })
	}
	return ended
}

// isReadable reports whether a pidfd says that its process ended.
func isReadable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&unix.POLLIN != 0
}

// Wait blocks until the process ended or ctx did. It does not reap. Only one
// goroutine may wait on a handle at a time.
func (p *Process) Wait(ctx context.Context) error {
	conn, err := p.f.SyscallConn()
	if err != nil {
		return err
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		p.f.SetReadDeadline(time.Unix(1, 0))
		close(woken)
	})
	err = conn.Read(func(fd uintptr) bool { return isReadable(int(fd)) })
	if stop() {
		return err
	}
	<-woken
	p.f.SetReadDeadline(time.Time{}) // for the next Wait
	if err != nil {
		return ctx.Err()
	}
	return nil
}

// Reap waits for an ended child, so that it does not stay as a zombie. It
// reports false when the process is nobody's child here.
func (p *Process) Reap() (syscall.WaitStatus, bool) {
	var ws unix.WaitStatus
	for {
		pid, err := unix.Wait4(p.id.PID, &ws, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return syscall.WaitStatus(ws), err == nil && pid == p.id.PID
	}
}

// exitStatus asks the kernel how a process ended that is not our child. It
// knows only once the parent reaped it, so ask for a while.
func (p *Process) exitStatus(wait time.Duration) (syscall.WaitStatus, bool) {
	conn, err := p.f.SyscallConn()
	if err != nil {
		return 0, false
	}
	deadline := time.Now().Add(wait)
	for {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		closed := conn.Control(func(fd uintptr) { err = unix.IoctlPidfdInfo(int(fd), &info) })
		if closed != nil {
			return 0, false
		}
		if err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			return syscall.WaitStatus(info.Exit_code), true
		}
		if (err != nil && !errors.Is(err, unix.ESRCH)) || time.Now().After(deadline) {
			return 0, false
		}
		time.Sleep(5 * time.Millisecond) // nothing tells when a stranger is reaped
	}
}

// pidOfPidfd returns the process ID behind a pidfd as this process sees it.
func pidOfPidfd(fd int) (int, error) {
	b, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Pid:"); ok {
			return strconv.Atoi(strings.TrimSpace(v))
		}
	}
	return 0, fmt.Errorf("descriptor %d is no pidfd", fd)
}

// procStat is the part of /proc/<pid>/stat that is of use here.
type procStat struct {
	pid, ppid, session int
	zombie             bool
	// clock ticks: of the process, and of its children that were waited for
	cpu, childCPU uint64
	start         uint64
	rss           int64 // pages
}

func readStat(pid int) (procStat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, err
	}
	return parseStat(b)
}

// parseStat reads one line of /proc/<pid>/stat. The second field is the name
// of the program in brackets; it may hold spaces and brackets itself.
func parseStat(b []byte) (procStat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("stat line %q has no name", b)
	}
	f := strings.Fields(string(b[end+1:])) // from field 3, the state
	if len(f) < 22 {
		return procStat{}, fmt.Errorf("stat line %q is too short", b)
	}
	var bad error
	num := func(s string) uint64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			bad = err
		}
		return uint64(n)
	}
	st := procStat{
		pid:      int(num(strings.TrimSpace(string(b[:open])))),
		zombie:   f[0] == "Z" || f[0] == "X",
		ppid:     int(num(f[1])),
		session:  int(num(f[3])),
		cpu:      num(f[11]) + num(f[12]),
		childCPU: num(f[13]) + num(f[14]),
		start:    num(f[19]),
		rss:      int64(num(f[21])),
	}
	return st, bad
}

// readProcs returns all processes in /proc, without the program's own errors:
// one that ends meanwhile is left out.
func readProcs() (map[int]procStat, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	procs := make(map[int]procStat, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if st, err := readStat(pid); err == nil {
			procs[pid] = st
		}
	}
	return procs, nil
}

// prctl is unix.Prctl with pointers' worth of ignored arguments spelled out.
func prctl(option int, arg uintptr) error {
	return unix.Prctl(option, arg, 0, 0, 0)
}

// clearInheritable empties the inheritable set of the calling thread.
func clearInheritable() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	return os.NewSyscallError("capset", unix.Capset(&hdr, &data[0]))
}
