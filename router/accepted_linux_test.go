package router

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// acceptSock returns both ends of a connection that an acceptor accepted.
func acceptSock(t *testing.T) (*net.TCPConn, *sock) {
	t.Helper()
	ln, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	boundUnsent(ln)
	ln = acceptor(ln)
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, ok := c.(*sock)
	if !ok {
		t.Fatalf("accepted a %T", c)
	}
	for _, c := range []net.Conn{client, s} {
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		t.Cleanup(func() { _ = c.Close() })
	}
	return client.(*net.TCPConn), s
}

func TestAcceptor_GivesConnectionsWhatNetGivesThem(t *testing.T) {
	plain, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	client, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ordinary, err := plain.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer ordinary.Close()
	other, accepted := acceptSock(t)
	options := map[string]struct{ level, name int }{
		"TCP_NODELAY": {unix.IPPROTO_TCP, unix.TCP_NODELAY}, "SO_KEEPALIVE": {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
		"TCP_KEEPIDLE": {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, "TCP_KEEPINTVL": {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
		"TCP_KEEPCNT": {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
	}
	get := func(c net.Conn, level, name int) (n int) {
		raw, err := c.(syscall.Conn).SyscallConn()
		if err == nil {
			err = errors.Join(raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), level, name) }), err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for name, o := range options {
		if got, want := get(accepted, o.level, o.name), get(ordinary, o.level, o.name); got != want {
			t.Errorf("%s is %d, net makes it %d", name, got, want)
		}
	}
	if got := get(accepted, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT); got != mostUnsent {
		t.Errorf("TCP_NOTSENT_LOWAT is %d, want %d", got, mostUnsent)
	}
	if got, want := accepted.RemoteAddr().String(), other.LocalAddr().String(); got != want {
		t.Errorf("the client is %s, want %s", got, want)
	}
	if got, want := accepted.LocalAddr().String(), other.RemoteAddr().String(); got != want {
		t.Errorf("it was accepted at %s, want %s", got, want)
	}
}

func TestAcceptor_LeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	ln, err := net.Listen("unix", dir+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if got := acceptor(ln); got != ln {
		t.Errorf("got %T", got)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(true)
	many, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := acceptor(many)
	defer got.Close()
	client, err := net.Dial("tcp", got.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := got.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// TestSock_IsNotPolledForWhatIsThere sends and receives without a wait.
func TestSock_IsNotPolledForWhatIsThere(t *testing.T) {
	client, s := acceptSock(t)
	_, _ = io.WriteString(client, "ping")
	in := newStream(s)
	eventually(t, "the bytes are there", func() bool { return clientOf(s).known && readable(t, s) })
	if err := in.fill(); err != nil || string(in.bytes()) != "ping" {
		t.Fatalf("got %q, %v", in.bytes(), err)
	}
	if err := in.sendPair([]byte("po"), []byte("ng")); err != nil {
		t.Fatal(err)
	}
	if s.polled.Load() {
		t.Error("the poller was told of it")
	}
	_ = s.Close()
	if b, err := io.ReadAll(client); string(b) != "pong" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	in.drop()
}

// readable reports whether there is something to read.
func readable(t *testing.T, s *sock) (is bool) {
	t.Helper()
	err := s.control("peek", func(fd uintptr) error {
		n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		is = n > 0
		if err == unix.EAGAIN {
			err = nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return is
}

// TestSock_KeepsDeadlines sets them before and after the poller knows of the
// connection, from another goroutine.
func TestSock_KeepsDeadlines(t *testing.T) {
	isTimeout := func(err error) bool {
		var net net.Error
		return errors.As(err, &net) && net.Timeout() && errors.Is(err, os.ErrDeadlineExceeded)
	}
	t.Run("before a read", func(t *testing.T) {
		_, s := acceptSock(t)
		_ = s.SetReadDeadline(past)
		in := newStream(s)
		if err := in.fill(); !errors.Is(err, os.ErrDeadlineExceeded) || s.polled.Load() {
			t.Errorf("fill returned %v, polled: %v", err, s.polled.Load())
		}
		if _, err := in.send([]byte("x")); err != nil {
			t.Errorf("send returned %v", err)
		}
		_ = s.SetWriteDeadline(past)
		if _, err := in.send([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("send returned %v", err)
		}
		if _, err := s.Read(make([]byte, 1)); !isTimeout(err) {
			t.Errorf("Read returned %v", err)
		}
		if _, err := s.Write([]byte("x")); !isTimeout(err) {
			t.Errorf("Write returned %v", err)
		}
		_ = s.SetDeadline(time.Time{})
		if _, err := s.Write([]byte("x")); err != nil {
			t.Errorf("Write returned %v", err)
		}
	})
	t.Run("during a read", func(t *testing.T) {
		_, s := acceptSock(t)
		in := newStream(s)
		got := make(chan error, 1)
		go func() { got <- in.fill() }()
		eventually(t, "it is waited for", func() bool { return s.polled.Load() })
		_ = s.SetReadDeadline(past)
		if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("fill returned %v", err)
		}
	})
}

func TestSock_Ends(t *testing.T) {
	t.Run("half", func(t *testing.T) {
		client, s := acceptSock(t)
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the client got %v", err)
		}
		_, _ = io.WriteString(client, "late")
		_ = client.CloseWrite()
		if b, err := io.ReadAll(s); string(b) != "late" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
	})
	for name, before := range map[string]func(*sock){"reset": func(*sock) {}, "reset, polled": func(s *sock) { _ = s.poll() }} {
		t.Run(name, func(t *testing.T) {
			client, s := acceptSock(t)
			before(s)
			cut(s)
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client got %v", err)
			}
			if st := clientOf(s); !st.gone {
				t.Errorf("got %+v", st)
			}
			_, err := s.Read(make([]byte, 1))
			if !errors.Is(err, net.ErrClosed) || !errors.Is(s.Close(), net.ErrClosed) {
				t.Errorf("Read returned %v", err)
			}
		})
	}
	t.Run("by another during a read", func(t *testing.T) {
		_, s := acceptSock(t)
		got := make(chan error, 1)
		go func() { _, err := s.Read(make([]byte, 1)); got <- err }()
		eventually(t, "it is waited for", func() bool { return s.polled.Load() })
		_ = s.Close()
		if err := <-got; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read returned %v", err)
		}
	})
}

// TestSock_TakesFromAnotherSocket moves more than either side holds.
func TestSock_TakesFromAnotherSocket(t *testing.T) {
	const size = 4 << 20
	client, s := acceptSock(t)
	sender, from := tcpPair(t)
	go func() {
		_, _ = io.Copy(sender, strings.NewReader(strings.Repeat("x", size)))
		_ = sender.Close()
	}()
	moved := make(chan int64, 1)
	go func() {
		n, _ := s.ReadFrom(&io.LimitedReader{R: from, N: size})
		_ = s.Close()
		moved <- n
	}()
	if n, err := io.Copy(io.Discard, client); n != size || err != nil {
		t.Errorf("the client got %d bytes, %v", n, err)
	}
	if n := <-moved; n != size {
		t.Errorf("moved %d", n)
	}
}

// tcpPair returns both ends of an ordinary connection.
func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = net.Dial("tcp", ln.Addr().String()); err == nil {
		b, err = ln.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}
