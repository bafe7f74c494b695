package isolation

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// initEnvironment is all that an init gets: it needs one thread at work, and
// must not be mistaken about who it is.
func (h *Host) initEnvironment() []string {
	return append([]string{initEnv + "=1", "GOMAXPROCS=2", "GOTRACEBACK=single"}, h.cfg.InitEnv...)
}

// spawn starts an init, which waits for its plan on the other end of control.
func (h *Host) spawn(dir, id string, namespaces bool) (*Process, *net.UnixConn, error) {
	control, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	files, err := initFiles(dir)
	if err != nil {
		control.Close()
		return nil, nil, err
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	pidfd := -1
	attr := &syscall.ProcAttr{
		Dir: "/",
		Env: h.initEnvironment(),
		Files: []uintptr{
			files[0].Fd(), files[0].Fd(), files[1].Fd(), // stdin, stdout; stderr is the log
			controlFD: theirs.Fd(), dirFD: files[2].Fd(),
		},
		Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
	}
	if namespaces {
		attr.Sys.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWPID
		if !h.caps.Root {
			attr.Sys.Cloneflags |= unix.CLONE_NEWUSER
			attr.Sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
			attr.Sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
			// In its own user namespace the init may do these; not being
			// user 0, it would lose them when it is exec'd.
			attr.Sys.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP, unix.CAP_KILL, unix.CAP_SYS_PTRACE, unix.CAP_DAC_OVERRIDE}
		}
	}
	pid, err := syscall.ForkExec(h.cfg.Exe, []string{"weir", InitCommand, id}, attr)
	if err != nil {
		control.Close()
		return nil, nil, err
	}
	proc, err := ownChild(pid, pidfd)
	if err != nil {
		control.Close() // which ends the init
		return nil, nil, err
	}
	return proc, control, nil
}

// ownChild makes a handle on a child that was just started.
func ownChild(pid, pidfd int) (*Process, error) {
	id, err := Identify(pid)
	if err == nil && pidfd < 0 {
		return Find(id)
	}
	if err == nil {
		err = unix.SetNonblock(pidfd, true)
	}
	if err != nil {
		unix.Close(pidfd)
		return nil, err
	}
	return newProcess(id, pidfd), nil
}

// initFiles opens /dev/null, the init's log and its directory.
func initFiles(dir string) ([]*os.File, error) {
	var files []*os.File
	for _, f := range []struct {
		path string
		flag int
	}{
		{"/dev/null", os.O_RDWR},
		{filepath.Join(dir, "init.log"), os.O_WRONLY | os.O_CREATE | os.O_APPEND},
		{dir, os.O_RDONLY | unix.O_DIRECTORY},
	} {
		opened, err := os.OpenFile(f.path, f.flag, 0o600)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, err
		}
		files = append(files, opened)
	}
	return files, nil
}

// socketPair returns our end, and the one to pass on.
func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// startTimeout bounds what an init does before its program runs. It mounts and
// forks; a minute means that it hangs.
const startTimeout = time.Minute

// converse gives an init its plan and returns the process ID of the program.
func converse(ctx context.Context, control *net.UnixConn, p plan) (pid int, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { control.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("starting the instance: %w", context.Cause(ctx))
		}
	}()
	if err := json.NewEncoder(control).Encode(p); err != nil {
		return 0, fmt.Errorf("sending the plan: %w", err)
	}
	b, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := control.ReadMsgUnix(b, oob)
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, fmt.Errorf("the init ended early: %w", err)
	}
	var r report
	if err := json.Unmarshal(b[:n], &r); err != nil {
		return 0, fmt.Errorf("reading the init's report: %w", err)
	}
	if r.Error != nil {
		if r.Error.Command {
			return 0, &CommandError{Msg: r.Error.Msg, Err: r.Error.Unwrap()}
		}
		return 0, r.Error
	}
	return receivePID(oob[:oobn])
}

// receivePID takes the pidfd that came with a report and returns the process
// ID, 0 without one.
func receivePID(oob []byte) (int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) == 0 {
		return 0, err
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		return 0, err
	}
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	return pidOfPidfd(fds[0])
}
