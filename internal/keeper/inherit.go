package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"weir/internal/platform"
)

// Inherited is what a child got from the keeper, and its line to it. A helper
// goroutine answers the next keeper when this one was killed.
type Inherited struct {
	heritage
	listeners map[string][]net.Listener
	packets   map[string][]net.PacketConn
	files     []*os.File // the sockets, to hand on
	adopt     *net.UnixListener
	gone      chan struct{} // closed when the keeper is, and we do not survive it
	final     chan struct{} // closed when a keeper said that it stops all for good
	sayFinal  sync.Once
	wg        sync.WaitGroup

	mu     sync.Mutex // guards what follows
	link   net.Conn
	ready  bool
	closed bool
}

// Inherit takes over what the keeper passed to this process. A child calls it
// once, at its start. It also makes the process survive a broken stderr and
// hangups.
//
//	in, err := keeper.Inherit()
//	http := in.Listeners("http")
//	… serve …
//	in.Ready()
//	<-in.Gone() // the controller ends then
func Inherit() (*Inherited, error) {
	value, ok := os.LookupEnv(linkEnv)
	if !ok {
		return nil, &platform.Error{
			Kind: platform.KindInvalid, Msg: "this command is started by weir serve, not by hand", Hint: "run weir serve",
		}
	}
	os.Unsetenv(linkEnv)
	in := &Inherited{listeners: map[string][]net.Listener{}, packets: map[string][]net.PacketConn{}, gone: make(chan struct{}), final: make(chan struct{})}
	if err := json.Unmarshal([]byte(value), &in.heritage); err != nil {
		return nil, fmt.Errorf("reading %s: %w", linkEnv, err)
	}
	// Whoever reads our log may go away with the keeper; a write to it must
	// not kill us. Nor must a hangup: it tells the keeper to replace us. A
	// handler, unlike ignoring, does not pass to programs.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGHUP)
	if err := in.open(); err != nil {
		return nil, err
	}
	var h hello
	words := json.NewDecoder(in.link)
	if err := words.Decode(&h); err != nil || !h.Go {
		return nil, errors.Join(errors.New("the keeper ended before it knew us"), err)
	}
	in.wg.Go(func() { in.followLink(in.link, words) })
	if in.Survives {
		in.wg.Go(in.serveAdoption)
	}
	return in, nil
}

// open makes Go objects of the descriptors.
func (in *Inherited) open() error {
	link := os.NewFile(uintptr(in.Link), "link")
	defer link.Close()
	var err error
	if in.link, err = net.FileConn(link); err != nil {
		return fmt.Errorf("opening the link to the keeper: %w", err)
	}
	adopt := os.NewFile(uintptr(in.Adopt), "adopt")
	defer adopt.Close()
	l, err := net.FileListener(adopt)
	if err != nil {
		return fmt.Errorf("opening the adoption socket: %w", err)
	}
	in.adopt = l.(*net.UnixListener)
	in.adopt.SetUnlinkOnClose(false)
	for i, s := range in.Sockets {
		fd := in.First + i
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), s.Name)
		in.files = append(in.files, f)
		if s.UDP {
			conn, err := net.FilePacketConn(f)
			if err != nil {
				return fmt.Errorf("opening the socket %s: %w", s.Name, err)
			}
			in.packets[s.Name] = append(in.packets[s.Name], conn)
			continue
		}
		ln, err := net.FileListener(f)
		if err != nil {
			return fmt.Errorf("opening the listener %s: %w", s.Name, err)
		}
		in.listeners[s.Name] = append(in.listeners[s.Name], ln)
	}
	return nil
}

// Listeners returns the listeners of the given name, nil if there are none.
func (in *Inherited) Listeners(name string) []net.Listener { return in.listeners[name] }

// PacketConns returns the UDP sockets of the given name, nil if there are none.
func (in *Inherited) PacketConns(name string) []net.PacketConn { return in.packets[name] }

// Ready tells the keeper that this process serves.
func (in *Inherited) Ready() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ready = true
	if in.link == nil {
		return nil // the next keeper hears it when it adopts us
	}
	err := json.NewEncoder(in.link).Encode(hello{Ready: true})
	if in.Survives {
		return nil // as above
	}
	return err
}

// Gone is closed when the keeper is gone and this child should end. It is
// never closed for a child that survives its keeper.
func (in *Inherited) Gone() <-chan struct{} { return in.gone }

// Close ends the conversation with the keeper and closes the listeners.
func (in *Inherited) Close() error {
	in.mu.Lock()
	in.closed = true
	if in.link != nil {
		in.link.Close()
	}
	in.mu.Unlock()
	in.adopt.Close()
	for _, f := range in.files {
		f.Close()
	}
	for _, all := range in.listeners {
		for _, l := range all {
			l.Close()
		}
	}
	for _, all := range in.packets {
		for _, p := range all {
			p.Close()
		}
	}
	in.wg.Wait()
	return nil
}

// Final is closed when the keeper stops everything for good: no process takes
// over from this one. SIGTERM comes too.
func (in *Inherited) Final() <-chan struct{} { return in.final }

// followLink hears what a keeper has to say, until it is gone.
func (in *Inherited) followLink(link net.Conn, words *json.Decoder) {
	for {
		var h hello
		if words.Decode(&h) != nil {
			break
		}
		if h.Final {
			in.sayFinal.Do(func() { close(in.final) })
		}
	}
	link.Close()
	in.mu.Lock()
	if in.link == link {
		in.link = nil
	}
	ours := in.closed
	in.mu.Unlock()
	if !in.Survives && !ours {
		close(in.gone)
	}
}

// serveAdoption waits for the next keeper, and the one after that.
func (in *Inherited) serveAdoption() {
	for {
		conn, err := in.adopt.AcceptUnix()
		if err != nil {
			return // closed
		}
		uid, err := peerUID(conn)
		if err != nil || (uid != 0 && uid != in.UID) || in.greet(conn) != nil {
			conn.Close()
		}
	}
}

// greet hands the listeners to a keeper, which is ours from then on.
func (in *Inherited) greet(conn *net.UnixConn) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return net.ErrClosed
	}
	b, err := json.Marshal(hello{PID: os.Getpid(), Sockets: in.Sockets, Ready: in.ready})
	if err != nil {
		return err
	}
	var fds []int
	for _, f := range in.files {
		fds = append(fds, int(f.Fd()))
	}
	if _, _, err := conn.WriteMsgUnix(append(b, '\n'), syscall.UnixRights(fds...), nil); err != nil {
		return err
	}
	if in.link != nil {
		in.link.Close()
	}
	in.link = conn
	in.wg.Go(func() { in.followLink(conn, json.NewDecoder(conn)) })
	return nil
}
