package load

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// listener accepts the proxy's connections to the instance.
type listener struct{ fd int }

func listen() (*listener, string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, "", err
	}
	// Accepted sockets inherit it.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		err = unix.Listen(fd, 4096)
	}
	if err != nil {
		unix.Close(fd)
		return nil, "", fmt.Errorf("listening for the proxies: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return nil, "", err
	}
	return &listener{fd}, fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port), nil
}

func (n *listener) ready(l *Loop, _ uint32) {
	for {
		fd, _, err := unix.Accept4(n.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		if err := l.add(fd, &served{fd: fd}, unix.EPOLLIN); err != nil {
			unix.Close(fd)
		}
	}
}

// served is a connection of the proxy to the instance.
type served struct {
	fd   int
	part []byte // of a head that is not complete
	out  []byte // of an answer that the kernel did not take at once
	n    uint32 // requests
}

func (s *served) ready(l *Loop, events uint32) {
	if len(s.out) > 0 {
		if s.flush(l) && len(s.out) == 0 {
			l.want(s.fd, unix.EPOLLIN)
		}
		return
	}
	n, errno := read(s.fd, l.buf)
	if errno == unix.EAGAIN || errno == unix.EINTR {
		return
	}
	if n <= 0 || errno != 0 {
		l.drop(s.fd)
		return
	}
	head := l.buf[:n]
	if len(s.part) > 0 {
		s.part = append(s.part, head...)
		head = s.part
	}
	if bytes.HasPrefix(head, []byte("POST ")) {
		s.part = append(s.part[:0], "POST "...) // an app that waits for the rest of the body
		return
	}
	if !bytes.HasSuffix(head, endOfHead) {
		s.part = append(s.part[:0], head...)
		return
	}
	s.part = s.part[:0]
	s.answer(l, head)
}

// answer sends the answer to one request. Every 64th is looked at closely.
func (s *served) answer(l *Loop, head []byte) {
	if s.n++; s.n%64 == 1 && l.run != nil && !l.run.plan.Others {
		if wrong := forwarded(head); wrong != "" {
			l.run.wrong(wrong)
		}
	}
	if len(head) < firstDigit+digits {
		l.drop(s.fd)
		return
	}
	s.out = l.small
	at := l.smallAt
	if bytes.HasPrefix(head[len("GET "):], []byte(largeTarget)) {
		s.out, at = l.large, l.largeAt
	}
	copy(s.out[at:], head[firstDigit:firstDigit+digits])
	if !s.flush(l) || len(s.out) == 0 {
		return
	}
	// The rest goes out later, when others may have written their digits into
	// the same answer. Those of a large one have gone with the first piece.
	if at == l.smallAt {
		s.out = bytes.Clone(s.out)
	}
	l.want(s.fd, unix.EPOLLOUT)
}

// flush writes what is to be written and reports whether the connection lives.
func (s *served) flush(l *Loop) bool {
	n, errno := write(s.fd, s.out)
	if errno == unix.EAGAIN || errno == unix.EINTR {
		return true
	}
	if errno != 0 {
		l.drop(s.fd)
		return false
	}
	s.out = s.out[n:]
	return true
}
