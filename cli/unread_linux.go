package cli

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// awaitUnread waits until nobody reads f any more, a pipe, and reports whether
// that is so; if ctx ends before it is not.
func awaitUnread(ctx context.Context, f *os.File) bool {
	ended, end, err := os.Pipe()
	if err != nil {
		return false
	}
	defer ended.Close()
	context.AfterFunc(ctx, func() { end.Close() })
	for {
		// No events are asked for: the kernel tells errors and ends anyway.
		fds := []unix.PollFd{{Fd: int32(f.Fd())}, {Fd: int32(ended.Fd())}}
		switch _, err := unix.Poll(fds, -1); {
		case err == unix.EINTR:
		case err != nil || fds[1].Revents != 0:
			return false
		case fds[0].Revents != 0:
			return true
		}
	}
}
