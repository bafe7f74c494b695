package keeper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"weir/isolation"
)

// childRecord is what the next keeper has to know of a process.
type childRecord struct {
	Name    string
	Process isolation.Identity
	Adopt   string // path of its adoption socket
	Current bool   // not one that is on its way out
}

func (k *Keeper) childrenFile() string { return filepath.Join(k.privateDir(), "children.json") }

// writeChildren writes down who the children are.
func (k *Keeper) writeChildren() {
	k.recordMu.Lock()
	defer k.recordMu.Unlock()
	var records []childRecord
	for _, c := range k.children {
		c.mu.Lock()
		for _, p := range c.procs {
			if !p.hasExited() {
				records = append(records, childRecord{c.cfg.Name, p.handle.Identity(), p.adopt, p == c.current})
			}
		}
		c.mu.Unlock()
	}
	b, err := json.Marshal(records)
	if err == nil {
		tmp := k.childrenFile() + ".tmp"
		if err = os.WriteFile(tmp, b, 0o600); err == nil {
			err = os.Rename(tmp, k.childrenFile())
		}
	}
	if err != nil {
		k.log.Error("children not written down: a next keeper will not find them", "err", err)
	}
}

const (
	// adoptTimeout bounds the conversation with a child that is adopted.
	adoptTimeout = 5 * time.Second
	// staleGrace is how long a child of a dead keeper that is not adopted may
	// take to end by itself, and then by SIGTERM. Its place is needed, and it
	// is made to be killed at any time.
	staleGrace = time.Second
)

// adoptChildren finds what an earlier keeper started: takes over those that
// survive, with their listeners, and waits for the end of the others.
func (k *Keeper) adoptChildren(ctx context.Context) error {
	b, err := os.ReadFile(k.childrenFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var records []childRecord
	if err := json.Unmarshal(b, &records); err != nil {
		k.log.Error("list of children is unreadable, ignored", "err", err)
		return nil
	}
	for _, r := range records {
		handle, err := isolation.Find(r.Process)
		if errors.Is(err, isolation.ErrGone) {
			continue
		}
		if err != nil {
			return fmt.Errorf("finding the %s of an earlier keeper: %w", r.Name, err)
		}
		if !k.adoptChild(ctx, r, handle) {
			k.outlive(ctx, r, handle)
		}
	}
	k.sweepSockets()
	k.writeChildren()
	return nil
}

// adoptChild takes over a process, or at least its sockets. It reports false
// if that is not possible.
func (k *Keeper) adoptChild(ctx context.Context, r childRecord, handle *isolation.Process) bool {
	var c *child
	for _, known := range k.children {
		if known.cfg.Name == r.Name && known.cfg.Survives {
			c = known
		}
	}
	if c == nil {
		return false
	}
	link, greeting, err := greetChild(ctx, r)
	if err != nil {
		k.log.Warn("child of an earlier keeper cannot be adopted", "child", r.Name, "pid", r.Process.PID, "err", err)
		return false
	}
	fits := c.takeSockets(greeting.Sockets)
	p := newProc(handle, link, r.Adopt)
	p.adopted = true
	if greeting.Ready {
		close(p.ready)
		c.readyOnce.Do(func() { close(c.firstReady) })
	}
	c.mu.Lock()
	if fits && r.Current && c.current == nil {
		c.current = p
	}
	isCurrent := c.current == p
	c.mu.Unlock()
	c.addProc(p)
	c.watch(p)
	if isCurrent {
		k.log.Info("child adopted", "child", r.Name, "pid", p.pid())
		return true
	}
	// It was on its way out, or listens elsewhere than we are told to.
	k.log.Info("child of an earlier keeper ends", "child", r.Name, "pid", p.pid())
	k.wg.Go(func() { c.end(p) })
	return true
}

// takeSockets keeps the sockets that are configured and closes the others. It
// reports whether they are exactly the configured ones.
func (c *child) takeSockets(sockets []socket) bool {
	fits := true
	for _, s := range sockets {
		if !c.wants(s) {
			fits = false
			s.file.Close()
			continue
		}
		c.addSockets([]socket{s})
	}
	for name, all := range c.cfg.Listeners {
		for _, l := range all {
			fits = fits && c.holds(name, l.Addr)
		}
	}
	return fits
}

// wants reports whether a socket is configured and not there yet.
func (c *child) wants(s socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, have := range c.sockets {
		if have.Name == s.Name && have.addr.String() == s.addr.String() {
			return false
		}
	}
	for _, l := range c.cfg.Listeners[s.Name] {
		if l.Addr == s.Addr {
			return true
		}
	}
	return false
}

// greetChild connects to a process's adoption socket and receives what it has.
func greetChild(ctx context.Context, r childRecord) (net.Conn, hello, error) {
	var d net.Dialer
	ctx, cancel := context.WithTimeout(ctx, adoptTimeout)
	defer cancel()
	conn, err := d.DialContext(ctx, "unix", r.Adopt)
	if err != nil {
		return nil, hello{}, err
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	greeting, err := receiveSockets(conn.(*net.UnixConn))
	if err == nil && greeting.PID != r.Process.PID {
		err = fmt.Errorf("process %d answers in place of %d", greeting.PID, r.Process.PID)
	}
	if err != nil {
		conn.Close()
		return nil, hello{}, err
	}
	conn.SetDeadline(time.Time{})
	return conn, greeting, nil
}

// maxSockets is how many descriptors the kernel passes at once.
const maxSockets = 253

func receiveSockets(conn *net.UnixConn) (hello, error) {
	b, oob := make([]byte, 64<<10), make([]byte, syscall.CmsgSpace(4*maxSockets))
	n, oobn, _, _, err := conn.ReadMsgUnix(b, oob)
	if err != nil {
		return hello{}, err
	}
	var fds []int
	msgs, err := syscall.ParseSocketControlMessage(oob[:oobn])
	for _, m := range msgs {
		if rights, err := syscall.ParseUnixRights(&m); err == nil {
			fds = append(fds, rights...)
		}
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		syscall.CloseOnExec(fd)
		files[i] = os.NewFile(uintptr(fd), "listener")
	}
	var h, more hello
	dec := json.NewDecoder(bytes.NewReader(b[:n]))
	if err == nil {
		err = dec.Decode(&h)
	}
	if err == nil && dec.Decode(&more) == nil { // it got ready just now
		h.Ready = h.Ready || more.Ready
	}
	if err == nil && len(h.Sockets) != len(files) {
		err = fmt.Errorf("%d listeners were announced, %d came", len(h.Sockets), len(files))
	}
	for i := range h.Sockets {
		if err == nil {
			err = h.Sockets[i].adopt(files[i])
		}
	}
	if err != nil {
		for _, f := range files {
			f.Close()
		}
		return hello{}, err
	}
	return h, nil
}

// adopt makes a received descriptor that of the socket.
func (s *socket) adopt(f *os.File) error {
	if s.UDP {
		conn, err := net.FilePacketConn(f)
		if err != nil {
			return err
		}
		defer conn.Close()
		s.file, s.addr = f, conn.LocalAddr()
		return nil
	}
	ln, err := net.FileListener(f)
	if err != nil {
		return err
	}
	defer ln.Close()
	s.file, s.addr = f, ln.Addr()
	return nil
}

// outlive waits for the end of a process that is not adopted, and helps.
func (k *Keeper) outlive(ctx context.Context, r childRecord, handle *isolation.Process) {
	defer handle.Close()
	k.log.Info("waiting for the child of an earlier keeper to end", "child", r.Name, "pid", r.Process.PID)
	for _, sig := range []syscall.Signal{0, syscall.SIGTERM, syscall.SIGKILL} {
		if sig != 0 {
			handle.Signal(sig)
		}
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), staleGrace)
		err := handle.Wait(wait)
		cancel()
		if err == nil {
			return
		}
	}
}

// sweepSockets removes the adoption sockets of processes that have ended.
func (k *Keeper) sweepSockets() {
	live := map[string]bool{}
	for _, c := range k.children {
		c.mu.Lock()
		for _, p := range c.procs {
			live[p.adopt] = true
		}
		c.mu.Unlock()
	}
	entries, err := os.ReadDir(k.privateDir())
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(k.privateDir(), e.Name())
		if strings.HasSuffix(path, ".sock") && !live[path] {
			os.Remove(path)
		}
	}
}
