package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/internal/platform"
)

// Lock is the lock on a data directory. It is free when its holder dies,
// however it dies.
type Lock struct{ f *os.File }

// LockDir takes the lock on the data directory dir, which must be there. While
// somebody else has it the error is a KindConflict one.
func LockDir(dir string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, &platform.Error{Kind: platform.KindInvalid, Msg: fmt.Sprintf("cannot use the data directory %q", dir), Err: err}
	}
	holder, err := flock(f)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = &platform.Error{
			Kind: platform.KindConflict,
			Msg:  fmt.Sprintf("the data directory %q is in use by another weir (process %s)", dir, holder),
			Hint: "stop it, or choose another directory with --data",
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Lock{f}, nil
}

// Release gives the lock back. It may be called again.
func (l *Lock) Release() { l.f.Close() }

// flock takes the lock, or says who has it. A keeper that was killed in the
// middle of starting a process has it until that process noticed: so a lock
// whose holder is dead is worth waiting for.
func flock(f *os.File) (holder string, err error) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return "", err
		}
		b := make([]byte, 32)
		n, _ := f.ReadAt(b, 0)
		holder = strings.TrimSpace(string(b[:n]))
		pid, atoiErr := strconv.Atoi(holder)
		isDead := atoiErr == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
		if !isDead || time.Now().After(deadline) {
			return holder, err
		}
	}
}
