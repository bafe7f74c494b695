package isolation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
			h.caps.Mapped = h.caps.Root // the probe's tree was
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
		Dir: dir, Root: h.caps.Root, UID: 65533, GID: 65533, Namespaces: true, Overlay: overlay, Mapped: h.caps.Root, Tree: filepath.Join(dir, "tree"),
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
		Namespaces: h.caps.Namespaces, Overlay: h.caps.Overlay, Mapped: h.caps.Mapped,
		Tree: s.Tree, InPlace: s.Root,
		MemoryMB: s.MemoryMB, Timeout: s.Timeout,
	}
	if s.Hide != "" && !contains(s.Hide, HomeRoot) && !contains(HomeRoot, s.Hide) {
		p.Hide, p.Show = s.Hide, s.Show
	}
	if err := inst.makeFIFOs(s, h.caps.Root); err != nil {
		return p, err
	}
	if err := h.prepareTree(ctx, inst.dir, &p); err != nil {
		return p, err
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

// prepareTree finds the tree's owner and makes the writable layer, or the
// copy, unless it is used in place.
func (h *Host) prepareTree(ctx context.Context, dir string, p *plan) error {
	st, err := os.Stat(p.Tree + p.InPlace)
	if err != nil {
		return err
	}
	sys := st.Sys().(*syscall.Stat_t)
	p.TreeUID, p.TreeGID = int(sys.Uid), int(sys.Gid)
	if p.InPlace != "" {
		return nil
	}
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
