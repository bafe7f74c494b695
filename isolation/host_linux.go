package isolation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Host starts and adopts instances. It is safe for concurrent use.
type Host struct {
	cfg     Config
	caps    Capabilities
	cgroups cgroupRoot
	procs   procTable
}

// Open finds out what the machine allows, by trying, and returns a Host.
// Close gives back what it made.
func Open(ctx context.Context, cfg Config) (*Host, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Exe == "" {
		cfg.Exe = "/proc/self/exe"
	}
	if err := os.MkdirAll(cfg.Dir, 0o711); err != nil {
		return nil, err
	}
	h := &Host{cfg: cfg}
	h.caps.Root = os.Geteuid() == 0
	h.caps.Memory = "polled"
	if !h.without(WithoutCgroups) {
		h.cgroups, h.caps.Missing = openCgroups(cfg.Dir)
		h.caps.Tracking = h.cgroups.v2 != ""
		switch {
		case h.cgroups.v2Memory:
			h.caps.Memory = "cgroup2"
		case h.cgroups.v1Memory != "":
			h.caps.Memory = "cgroup1"
		}
	}
	if h.caps.Memory == "polled" {
		h.lacks("memory limits are enforced by looking from time to time", nil)
	}
	if err := h.probe(ctx); err != nil {
		h.cgroups.close()
		return nil, err
	}
	return h, nil
}

func (h *Host) without(what string) bool { return slices.Contains(h.cfg.Without, what) }

func (h *Host) lacks(what string, err error) {
	if err != nil {
		what += " (" + reason(err) + ")"
	}
	h.caps.Missing = append(h.caps.Missing, what)
}

// probe tries namespaces with an overlay, then namespaces alone.
func (h *Host) probe(ctx context.Context) error {
	dir, err := os.MkdirTemp(h.cfg.Dir, ".probe-")
	if err != nil {
		return err
	}
	defer removeTree(dir)
	if h.without(WithoutNamespaces) {
		h.lacks("instances see the machine's processes and real paths (switched off)", nil)
		h.lacks("each instance gets a copy of its tree", nil)
		return nil
	}
	overlayErr := errors.New("switched off")
	if !h.without(WithoutOverlay) {
		if overlayErr = h.try(ctx, dir, true); overlayErr == nil {
			h.caps.Namespaces, h.caps.Overlay = true, true
			return nil
		}
	}
	h.lacks("each instance gets a copy of its tree", overlayErr)
	if err := h.try(ctx, dir, false); err != nil {
		h.lacks("instances see the machine's processes and real paths", err)
		return nil
	}
	h.caps.Namespaces = true
	return nil
}

// try sets up an instance that runs nothing.
func (h *Host) try(ctx context.Context, dir string, overlay bool) error {
	dir, err := os.MkdirTemp(dir, "")
	if err != nil {
		return err
	}
	for _, sub := range []string{"tree", "fs", "rw/upper", "rw/work", "rw/lower"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	p := plan{
		Dir: dir, Root: h.caps.Root, UID: 65533, GID: 65533, Namespaces: true, Overlay: overlay, Tree: filepath.Join(dir, "tree"),
		TreeUID: os.Geteuid(), TreeGID: os.Getegid(), Probe: true,
	}
	proc, control, err := h.spawn(dir, "probe", p.Namespaces)
	if err != nil {
		return err
	}
	defer proc.Close()
	defer control.Close()
	_, err = converse(ctx, control, p)
	if err != nil {
		proc.Signal(unix.SIGKILL)
	}
	waitErr := proc.Wait(context.WithoutCancel(ctx))
	proc.Reap()
	return errors.Join(err, waitErr)
}

// Capabilities returns what Open found.
func (h *Host) Capabilities() Capabilities { return h.caps }

// Close gives back what Open made. Instances go on.
func (h *Host) Close() error {
	h.cgroups.close()
	return nil
}

// RootOf returns the path at which the program of an instance will find its
// tree: HomeRoot, or a real path where there are no namespaces.
func (h *Host) RootOf(s Spec) string {
	switch {
	case h.caps.Namespaces:
		return HomeRoot
	case s.Root != "":
		return s.Root
	}
	return filepath.Join(h.cfg.Dir, s.ID, "fs")
}

// Start runs a program. It returns when the program was exec'd, or with a
// *CommandError if it cannot be. It leaves nothing behind when it fails.
func (h *Host) Start(ctx context.Context, s Spec) (*Instance, error) {
	if err := checkSpec(s); err != nil {
		return nil, err
	}
	dir := filepath.Join(h.cfg.Dir, s.ID)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(dir, stateFile)); err == nil {
		return nil, ErrExists
	}
	inst := &Instance{host: h, dir: dir}
	inst.state.Spec = summary(s)
	if err := h.launch(ctx, inst, s); err != nil {
		inst.discard()
		return nil, err
	}
	return inst, nil
}

func checkSpec(s Spec) error {
	if !ValidID(s.ID) {
		return fmt.Errorf("invalid instance ID %q", s.ID)
	}
	tree := s.Tree + s.Root
	if s.Tree != "" && s.Root != "" || !filepath.IsAbs(tree) {
		return errors.New("an instance needs the absolute path of one tree")
	}
	if !filepath.IsLocal(s.WorkDir) && s.WorkDir != "" {
		return &CommandError{Msg: fmt.Sprintf("working directory %q is outside the tree", s.WorkDir)}
	}
	for _, name := range s.Show {
		if filepath.Base(name) != name || !filepath.IsLocal(name) {
			return fmt.Errorf("%q is no entry of a directory", name)
		}
	}
	for _, e := range slices.Concat(s.Args, s.Env) {
		if strings.ContainsRune(e, 0) {
			return &CommandError{Msg: "arguments and environment cannot contain a NUL byte"}
		}
	}
	if st, err := os.Stat(tree); err != nil {
		return fmt.Errorf("looking at the tree: %w", err)
	} else if !st.IsDir() {
		return fmt.Errorf("%s is no directory", tree)
	}
	return nil
}

// launch is Start after the checks; what it made when it fails is in inst.
func (h *Host) launch(ctx context.Context, inst *Instance, s Spec) error {
	p, err := h.prepare(ctx, inst, s)
	if err != nil {
		return err
	}
	proc, control, err := h.spawn(inst.dir, s.ID, p.Namespaces)
	if err != nil {
		return fmt.Errorf("starting the init: %w", err)
	}
	defer control.Close()
	inst.init = proc
	inst.state.Init = proc.Identity()
	// The init does nothing before it has its plan, and ends when we do. So
	// whatever runs a program has been written down.
	if err := inst.writeState(); err != nil {
		return err
	}
	pid, err := converse(ctx, control, p)
	if err != nil {
		return err
	}
	inst.state.PID = pid
	return inst.writeState()
}

// prepare makes the directory, FIFOs and cgroups, and decides the plan.
func (h *Host) prepare(ctx context.Context, inst *Instance, s Spec) (plan, error) {
	p := plan{
		Dir: inst.dir, Args: s.Args, Env: s.Env, WorkDir: filepath.Join(h.RootOf(s), s.WorkDir),
		Root: h.caps.Root, UID: s.UID, GID: s.GID, Processes: s.Processes,
		Namespaces: h.caps.Namespaces, Overlay: h.caps.Overlay,
		Tree: s.Tree, InPlace: s.Root,
		MemoryMB: s.MemoryMB, Timeout: s.Timeout,
	}
	if s.Hide != "" && !contains(s.Hide, HomeRoot) && !contains(HomeRoot, s.Hide) {
		p.Hide, p.Show = s.Hide, s.Show
	}
	if err := inst.makeFIFOs(s, h.caps.Root); err != nil {
		return p, err
	}
	if s.Tree != "" {
		if err := h.prepareTree(ctx, inst.dir, &p); err != nil {
			return p, err
		}
	}
	var err error
	p.Groups, p.Poll, err = h.cgroups.makeGroups(s.ID, s.MemoryMB)
	if err != nil {
		return p, fmt.Errorf("making the cgroup: %w", err)
	}
	inst.state.Groups = p.Groups
	inst.state.Root = p.Root
	return p, nil
}

// contains reports whether path is dir or below it.
func contains(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// prepareTree makes the writable layer, or the copy.
func (h *Host) prepareTree(ctx context.Context, dir string, p *plan) error {
	st, err := os.Stat(p.Tree)
	if err != nil {
		return err
	}
	sys := st.Sys().(*syscall.Stat_t)
	p.TreeUID, p.TreeGID = int(sys.Uid), int(sys.Gid)
	if !p.Overlay {
		var owner *fileOwner
		if p.Root {
			owner = &fileOwner{p.UID, p.GID}
		}
		return copyTree(ctx, p.Tree, filepath.Join(dir, "fs"), owner)
	}
	if err := os.Mkdir(filepath.Join(dir, "rw"), 0o700); err != nil {
		return err
	}
	for _, sub := range []string{"upper", "work", "lower"} {
		if err := os.Mkdir(filepath.Join(dir, "rw", sub), 0o700); err != nil {
			return err
		}
	}
	// The upper layer's root is what the program sees as its home's.
	upper := filepath.Join(dir, "rw/upper")
	if err := os.Chmod(upper, st.Mode().Perm()|0o700); err != nil {
		return err
	}
	if p.Root {
		return os.Lchown(upper, p.UID, p.GID)
	}
	return nil
}

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

// procTable is a list of all processes, for many instances to share.
type procTable struct {
	mu    sync.Mutex // guards all below; held while reading, so that one does
	procs map[int]procStat
	at    time.Time
}

// read returns the table as it was at most maxAge ago.
func (t *procTable) read(maxAge time.Duration) (map[int]procStat, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.at) < maxAge {
		return t.procs, nil
	}
	procs, err := readProcs()
	if err != nil {
		return nil, err
	}
	t.procs, t.at = procs, time.Now()
	return procs, nil
}
