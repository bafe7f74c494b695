package isolation

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// InitMain is the whole life of an instance's init; it never returns. main
// calls it for the sub-command InitCommand, as early as possible, and so does
// the TestMain of a test binary that starts instances.
func InitMain() {
	if !IsInit() {
		notByHand()
	}
	// A deliverable signal must never find us without a handler. That they are
	// handled, not ignored, also means that the program starts with defaults.
	signals := make(chan os.Signal, 64) // a burst of SIGCHLD is one for us
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM, killSignal,
		unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE, unix.SIGALRM, unix.SIGUSR2, unix.SIGTSTP)
	unix.CloseOnExec(controlFD)
	unix.CloseOnExec(dirFD)
	control := os.NewFile(controlFD, "control")
	var p plan
	if err := json.NewDecoder(control).Decode(&p); err != nil {
		os.Exit(1) // whoever started us died before it had told us anything
	}
	in := &initProcess{plan: p, signals: signals, events: make(chan event), pidfd: -1}
	err := in.setUp()
	if err == nil && !p.Probe {
		err = in.start()
	}
	if err != nil {
		e, _ := errors.AsType[*initError](failed("setting up", err))
		in.killTree()
		sendReport(report{Error: e}, -1)
		os.Exit(1)
	}
	// Nobody may be there to hear it any more; the program runs all the same.
	sendReport(report{PID: in.pid}, in.pidfd)
	control.Close()
	if p.Probe {
		os.Exit(0)
	}
	if err := writeExit(dirFD, in.supervise()); err != nil {
		fmt.Fprintln(os.Stderr, "writing the exit record:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// initProcess is the init of one instance.
type initProcess struct {
	plan    plan
	signals chan os.Signal
	events  chan event
	stdio   [3]*os.File
	pid     int // the program's, as we see it
	pidfd   int
}

func sendReport(r report, pidfd int) {
	b, err := json.Marshal(r)
	if err != nil {
		return
	}
	var rights []byte
	if pidfd >= 0 {
		rights = unix.UnixRights(pidfd)
	}
	unix.Sendmsg(controlFD, b, rights, nil, unix.MSG_NOSIGNAL)
	if pidfd >= 0 {
		unix.Close(pidfd)
	}
}

// setUp makes the sandbox around this process.
func (in *initProcess) setUp() error {
	unix.Umask(0o022)
	if err := in.openStdio(); err != nil {
		return err
	}
	if in.plan.Namespaces {
		if err := mountAll(in.plan); err != nil {
			return err
		}
	} else if err := prctl(unix.PR_SET_CHILD_SUBREAPER, 1); err != nil {
		return failed("becoming the reaper", err)
	}
	return in.setLimits()
}

// openStdio opens what the program will have as 0, 1 and 2. The FIFOs are
// opened for reading as well and stay open here: so a program never gets a
// SIGPIPE because nobody reads its output at the moment.
func (in *initProcess) openStdio() error {
	null, err := os.OpenFile("/dev/null", os.O_RDONLY, 0)
	if err != nil {
		return failed("opening standard input", err)
	}
	in.stdio[0] = null
	for i, name := range []string{"stdout", "stderr"} {
		if in.plan.Probe {
			in.stdio[i+1] = null
			continue
		}
		if _, err := unix.Openat(dirFD, name, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return failed("opening "+name, err)
		}
		fd, err := unix.Openat(dirFD, name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return failed("opening "+name, err)
		}
		in.stdio[i+1] = os.NewFile(uintptr(fd), name)
	}
	return nil
}

// openFiles is the limit of open files of an instance, as in Cloud Foundry.
const openFiles = 16384

func (in *initProcess) setLimits() error {
	limits := map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: openFiles}
	if in.plan.Root && in.plan.Processes > 0 {
		limits[unix.RLIMIT_NPROC] = uint64(in.plan.Processes)
	}
	for which, want := range limits {
		var old unix.Rlimit
		if err := unix.Getrlimit(which, &old); err != nil {
			return failed("reading a resource limit", err)
		}
		want = min(want, old.Max)
		if err := unix.Setrlimit(which, &unix.Rlimit{Cur: want, Max: want}); err != nil {
			return failed("setting a resource limit", err)
		}
	}
	return nil
}

// start runs the program, from a thread of its own: what a thread gives up
// and the cgroup it joins pass to the program and end with the thread.
func (in *initProcess) start() error {
	path, err := lookCommand(in.plan.Args, in.plan.Env, in.plan.WorkDir)
	if err != nil {
		return err
	}
	done := make(chan error)
	go in.startOnThread(path, done)
	return <-done
}

func (in *initProcess) startOnThread(path string, done chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if unix.Gettid() == unix.Getpid() {
		// The first thread cannot end, and what it joins the process joins.
		// While it is locked here, another goroutine is on another thread.
		again := make(chan error)
		go in.startOnThread(path, again)
		done <- <-again
		return
	}
	done <- in.fork(path)
}

func (in *initProcess) fork(path string) error {
	attr := &syscall.ProcAttr{
		Dir: in.plan.WorkDir,
		Env: in.plan.Env,
		Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &in.pidfd},
	}
	for _, f := range in.stdio {
		attr.Files = append(attr.Files, f.Fd())
	}
	if in.plan.Root {
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(in.plan.UID), Gid: uint32(in.plan.GID)}
	}
	if dir := in.plan.Groups.V2; dir != "" {
		group, err := os.Open(dir)
		if err != nil {
			return failed("opening the cgroup", err)
		}
		defer group.Close()
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(group.Fd())
	}
	if dir := in.plan.Groups.Memory; dir != "" {
		if err := writeFile(dir+"/tasks", strconv.Itoa(unix.Gettid())); err != nil {
			return failed("joining the memory cgroup", err)
		}
	}
	if err := dropPrivileges(); err != nil {
		return err
	}
	pid, err := syscall.ForkExec(path, in.plan.Args, attr)
	if err != nil {
		return execFailure(in.plan.Args[0], path, err)
	}
	in.pid = pid
	// When memory runs out on the whole machine, apps go before the platform.
	// Raising needs no privilege and nothing depends on it.
	writeFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", "100")
	return nil
}

// dropPrivileges makes sure that whatever the calling thread starts can never
// get a privilege. What the thread itself needs to change user it keeps.
func dropPrivileges() error {
	if err := prctl(unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return failed("giving up new privileges", err)
	}
	for c := uintptr(0); ; c++ {
		err := prctl(unix.PR_CAPBSET_DROP, c)
		if errors.Is(err, unix.EINVAL) {
			break // past the last one
		}
		if errors.Is(err, unix.EPERM) {
			break // without privileges there is nothing to give up
		}
		if err != nil {
			return failed("dropping capabilities", err)
		}
	}
	if err := prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil && !errors.Is(err, unix.EINVAL) {
		return failed("dropping capabilities", err)
	}
	return failed("dropping capabilities", clearInheritable())
}
