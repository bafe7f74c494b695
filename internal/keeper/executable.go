package keeper

import (
	"fmt"
	"os"
	"sync"
	"syscall"
)

// executable is the program file that children are started from. It is held
// open, so that a child that dies while the file on the disk is being replaced
// comes back as what it was; renew goes over to the file that is there now.
type executable struct {
	path string // where a new one is found; empty: it never changes

	mu   sync.Mutex // guards file
	file *os.File   // nil: this very program
}

// openExecutable takes a configured path, or "" for this very program.
func openExecutable(path string) (*executable, error) {
	if path != "" {
		x := &executable{path: path}
		_, err := x.renew()
		return x, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return &executable{path: self}, nil
}

// firstHighFD is above all descriptors that a child is started with.
const firstHighFD = 512

// renew goes over to the file that is at the path now and returns the one
// before, nil for this very program. The caller closes it, or gives it back.
func (x *executable) renew() (before *os.File, err error) {
	f, err := os.Open(x.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_DUPFD_CLOEXEC, firstHighFD)
	if errno != 0 {
		return nil, os.NewSyscallError("fcntl", errno)
	}
	return x.swap(os.NewFile(fd, x.path)), nil
}

// swap makes file the program and returns the one before.
func (x *executable) swap(file *os.File) (before *os.File) {
	x.mu.Lock()
	defer x.mu.Unlock()
	before, x.file = x.file, file
	return before
}

// name returns what to exec: a name that leads to the file even when the user
// of the child may not enter its directory.
func (x *executable) name() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.file == nil {
		return "/proc/self/exe"
	}
	return fmt.Sprintf("/proc/self/fd/%d", x.file.Fd())
}

func (x *executable) close() { closeProgram(x.swap(nil)) }

// closeProgram closes a program file; nil is this very program.
func closeProgram(f *os.File) {
	if f != nil {
		f.Close()
	}
}
