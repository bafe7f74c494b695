package isolation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// backgroundNice is by how much what runs in the background is nicer than this
// process: where others want the processor too, it gets a tenth of their time.
const backgroundNice = 10

// SetBackground has the programs of the instance give way to all others when
// processors are scarce, or no longer. What they start inherits it.
//
// It depends on the machine whose nice value counts, so both are set: that of
// the session's scheduling group (autogroup, sched(7)) and, where it may be
// taken back, which needs CAP_SYS_NICE, that of each thread. A thread's own
// nice value is lost by that.
func (i *Instance) SetBackground(on bool) error {
	_, pids, err := i.processes(0)
	if err != nil {
		return err
	}
	own, err := threadNice(os.Getpid())
	if err != nil {
		return err
	}
	group := 0
	if on {
		group, own = backgroundNice, min(own+backgroundNice, 19)
	}
	for _, pid := range pids {
		if err := setGroupNice(pid, group); err != nil && !isGone(err) {
			return fmt.Errorf("changing the priority of a session: %w", err)
		}
		if os.Geteuid() != 0 {
			continue
		}
		if err := setThreadsNice(pid, own); err != nil && !isGone(err) {
			return fmt.Errorf("changing the priority of a process: %w", err)
		}
	}
	return nil
}

// IsBackground reports whether SetBackground was called last with true.
func (i *Instance) IsBackground() bool {
	if nice, err := groupNice(i.PID()); err == nil && nice == backgroundNice {
		return true
	}
	own, err := threadNice(os.Getpid())
	nice, err2 := threadNice(i.PID())
	return err == nil && err2 == nil && nice == min(own+backgroundNice, 19) && nice > own
}

// threadNice returns the nice value of a thread, or of the first of a process.
func threadNice(tid int) (int, error) {
	p, err := unix.Getpriority(unix.PRIO_PROCESS, tid) // the system call returns 20 less it
	return 20 - p, err
}

// isGone reports whether an error says that a process or thread has ended.
func isGone(err error) bool { return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// groupNice returns the nice value of the scheduling group of a process. A
// kernel without such groups is an error of kind os.ErrNotExist.
func groupNice(pid int) (int, error) {
	b, err := os.ReadFile(groupFile(pid))
	if err != nil {
		return 0, err
	}
	_, nice, ok := strings.Cut(strings.TrimSpace(string(b)), " nice ") // "/autogroup-37 nice 0"
	if !ok {
		return 0, os.ErrNotExist // it is in none
	}
	return strconv.Atoi(nice)
}

func groupFile(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/autogroup" }

// setGroupNice sets the nice value of the scheduling group of a process. The
// kernel lets unprivileged processes do so ten times a second, all together.
func setGroupNice(pid, nice int) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		is, err := groupNice(pid)
		if err != nil || is == nice {
			return err
		}
		err = writeFile(groupFile(pid), strconv.Itoa(nice))
		if !errors.Is(err, unix.EAGAIN) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// setThreadsNice sets the nice value of all threads of a process. It looks
// again for those that began meanwhile.
func setThreadsNice(pid, nice int) error {
	changed := true
	for pass := 0; changed && pass < 5; pass++ {
		changed = false
		threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*")
		if err != nil {
			return err
		}
		for _, t := range threads {
			tid, err := strconv.Atoi(filepath.Base(t))
			if err != nil {
				return err
			}
			is, err := threadNice(tid)
			if err == nil && is != nice {
				changed = true
				err = unix.Setpriority(unix.PRIO_PROCESS, tid, nice)
			}
			if err != nil && !isGone(err) {
				return err
			}
		}
	}
	return nil
}
