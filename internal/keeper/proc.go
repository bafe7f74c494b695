package keeper

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"weir/isolation"
)

// proc is one process of a child, started by us or adopted.
type proc struct {
	handle  *isolation.Process
	link    net.Conn // to the helper in the child
	adopted bool
	adopt   string        // path of its adoption socket
	ready   chan struct{} // closed when it said so
	exited  chan struct{} // closed when it ended

	letGo   context.CancelFunc // ends our watching, not the process
	watched <-chan struct{}    // closed when the watching ended

	mu    sync.Mutex         // guards what follows
	wait  syscall.WaitStatus // valid if known
	known bool               // false for somebody else's child
}

// linkEnv is the environment variable that tells a child what it inherited.
const linkEnv = "WEIR_KEEPER"

// heritage is the value of linkEnv, as JSON.
type heritage struct {
	Name     string
	Survives bool
	Link     int      // descriptor of the socket to the keeper
	Adopt    int      // descriptor of the listening socket for the next keeper
	Sockets  []socket // names; their descriptors follow from First on
	First    int
	UID      int // of the keeper
}

// hello is what passes over a link, one JSON value a line: Go from the keeper
// to a child it has written down, Final when it stops all for good, Ready the
// other way, PID and Sockets (with the descriptors) from a child to a keeper
// that adopts it.
type hello struct {
	Go      bool     `json:",omitempty"`
	Final   bool     `json:",omitempty"`
	Ready   bool     `json:",omitempty"`
	PID     int      `json:",omitempty"`
	Sockets []socket `json:",omitempty"`
}

// start starts a process of the child.
func (c *child) start() (*proc, error) {
	c.mu.Lock()
	c.spawns++
	adoptPath := filepath.Join(c.k.privateDir(), fmt.Sprintf("%s-%d-%d.sock", c.cfg.Name, os.Getpid(), c.spawns))
	sockets := c.sockets
	c.mu.Unlock()
	link, theirs, err := linkPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	adopt, err := listenUnix(adoptPath)
	if err != nil {
		link.Close()
		return nil, fmt.Errorf("making the adoption socket: %w", err)
	}
	defer adopt.Close()
	pid, err := c.exec(sockets, theirs, adopt)
	if err != nil {
		link.Close()
		os.Remove(adoptPath)
		return nil, err
	}
	return c.introduce(pid, link, adoptPath)
}

// exec starts the program. It waits in Inherit for our word.
func (c *child) exec(sockets []socket, link, adopt *os.File) (pid int, err error) {
	h := heritage{Name: c.cfg.Name, Survives: c.cfg.Survives, Link: 3, Adopt: 4, First: 5, Sockets: sockets, UID: os.Geteuid()}
	value, err := json.Marshal(h)
	if err != nil {
		return 0, err
	}
	cmd := exec.Cmd{
		Path:       c.k.exe.name(),
		Args:       append([]string{"weir"}, c.cfg.Args...),
		Env:        append(c.cfg.Env[:len(c.cfg.Env):len(c.cfg.Env)], linkEnv+"="+string(value)),
		Dir:        "/",
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		ExtraFiles: []*os.File{link, adopt},
		// Its own session: a Ctrl-C in the terminal is for the keeper alone.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	for _, s := range sockets {
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.file)
	}
	if isRoot() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(c.k.cfg.UID), Gid: uint32(c.k.cfg.GID)}
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid = cmd.Process.Pid
	return pid, cmd.Process.Release() // it is waited for by its handle
}

// introduce takes a started process on: it is written down, and then told to go.
func (c *child) introduce(pid int, link net.Conn, adoptPath string) (*proc, error) {
	id, err := isolation.Identify(pid)
	var handle *isolation.Process
	if err == nil {
		handle, err = isolation.Find(id)
	}
	if err != nil {
		link.Close() // it ends when it sees that
		os.Remove(adoptPath)
		syscall.Wait4(pid, nil, 0, nil)
		return nil, fmt.Errorf("the new process ended at once: %w", err)
	}
	p := newProc(handle, link, adoptPath)
	c.addProc(p)
	// If it died already, that is what awaitExit sees.
	json.NewEncoder(link).Encode(hello{Go: true})
	c.watch(p)
	return p, nil
}

func newProc(handle *isolation.Process, link net.Conn, adoptPath string) *proc {
	return &proc{
		handle: handle, link: link, adopt: adoptPath,
		ready: make(chan struct{}), exited: make(chan struct{}), letGo: func() {},
	}
}

// addProc writes a process down: from here on, the next keeper knows of it.
func (c *child) addProc(p *proc) {
	c.mu.Lock()
	c.procs = slices.DeleteFunc(c.procs, (*proc).hasExited)
	c.procs = append(c.procs, p)
	c.mu.Unlock()
	c.k.writeChildren()
}

// watch follows a process until it ends or is let go of.
func (c *child) watch(p *proc) {
	ctx, cancel := context.WithCancel(context.Background())
	p.letGo, p.watched = cancel, ctx.Done()
	c.k.wg.Go(func() {
		defer cancel()
		p.awaitExit(ctx)
	})
	c.k.wg.Go(func() {
		if p.awaitReady() {
			c.readyOnce.Do(func() { close(c.firstReady) })
		}
	})
}

func (p *proc) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (p *proc) pid() int { return p.handle.Identity().PID }

// sayFinal tells the process that nobody takes over from it.
func (p *proc) sayFinal() {
	// One that is about to end, or does not listen, misses nothing.
	_ = p.link.SetWriteDeadline(time.Now().Add(time.Second))
	_ = json.NewEncoder(p.link).Encode(hello{Final: true})
}

func (p *proc) signal(sig syscall.Signal) { p.handle.Signal(sig) }

func (p *proc) awaitExit(ctx context.Context) {
	defer p.handle.Close()
	defer p.link.Close()
	if p.handle.Wait(ctx) != nil {
		return
	}
	ws, known := p.handle.Reap()
	p.mu.Lock()
	p.wait, p.known = ws, known
	p.mu.Unlock()
	os.Remove(p.adopt)
	close(p.exited)
}

// awaitReady waits for the word that the process is ready, and reports whether
// it came.
func (p *proc) awaitReady() bool {
	dec := json.NewDecoder(p.link)
	for {
		var h hello
		if dec.Decode(&h) != nil {
			return false // it ended, or was let go of
		}
		if h.Ready {
			close(p.ready)
			return true
		}
	}
}

// release lets go of the process, which goes on if it can.
func (p *proc) release() { p.letGo() }

// outcome says how the process ended, also in words.
func (p *proc) outcome() (code int, how string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.known:
		return -1, "unknown: it was adopted"
	case p.wait.Signaled():
		return -1, "killed by " + p.wait.Signal().String()
	}
	return p.wait.ExitStatus(), fmt.Sprintf("exit status %d", p.wait.ExitStatus())
}

// linkPair returns our end of a link, and the one to pass on.
func linkPair() (net.Conn, *os.File, error) {
	syscall.ForkLock.RLock() // an end that strayed into another process would keep the link up
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "link"), os.NewFile(uintptr(fds[1]), "link")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// listenUnix returns a listening socket at a path that only our user can
// connect to.
func listenUnix(path string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	return l.File()
}
