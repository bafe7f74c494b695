package isolation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The descriptors an init starts with, beside /dev/null twice and its log.
const (
	controlFD = 3 // a socket: the plan comes in, the report goes out
	dirFD     = 4 // the instance's directory
)

// plan is what an init has to do, decided before by whoever starts it. It
// travels as JSON.
type plan struct {
	Dir     string // the instance's directory
	Args    []string
	Env     []string
	WorkDir string // as the program sees it, absolute

	Root      bool // we are root: give up privileges, become UID and GID
	UID, GID  int
	Processes int // RLIMIT_NPROC; 0: as it is

	Namespaces bool
	Overlay    bool
	Mapped     bool   // Tree or InPlace are shown as UID's and GID's own
	Tree       string // shown at HomeRoot, writable: over "rw/upper", or its copy "fs"
	InPlace    string // shown at HomeRoot as it is
	TreeUID    int    // owner of Tree or InPlace
	TreeGID    int
	Hide       string
	Show       []string

	Groups   instanceGroups
	MemoryMB int
	// Poll says that the memory limit is the init's business.
	Poll    bool
	Timeout time.Duration

	// Probe: set up, report, and run nothing.
	Probe bool
}

// report is what an init answers, once. With it comes the pidfd of the program.
type report struct {
	PID   int // as the init sees it
	Error *initError
}

// initError is why an init did not come to run its program.
type initError struct {
	Step  string // what it was doing: "mounting the tree"
	Errno unix.Errno
	Msg   string // the error in words
	// Command says that the program is at fault; Msg is for its owner then.
	Command bool
}

func (e *initError) Error() string {
	if e.Command {
		return e.Msg
	}
	return e.Step + ": " + e.Msg
}

func (e *initError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// failed wraps the error of a step. Anything that already is an initError stays.
func failed(step string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*initError](err); ok {
		return e
	}
	var errno unix.Errno
	errors.As(err, &errno)
	return &initError{Step: step, Errno: errno, Msg: err.Error()}
}

func badCommand(errno unix.Errno, format string, args ...any) error {
	return &initError{Step: "starting the program", Errno: errno, Msg: fmt.Sprintf(format, args...), Command: true}
}

// lookCommand finds the program of a plan, in the file system the program will
// see, and says what is wrong with it in words its owner understands.
func lookCommand(args, env []string, workDir string) (string, error) {
	if len(args) == 0 || args[0] == "" {
		return "", badCommand(0, "no command to run")
	}
	if st, err := os.Stat(workDir); err != nil || !st.IsDir() {
		return "", badCommand(unix.ENOENT, "working directory %q does not exist", workDir)
	}
	name := args[0]
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(workDir, path)
		}
		return path, checkExecutable(name, path)
	}
	for dir := range strings.SplitSeq(envValue(env, "PATH"), ":") {
		if dir == "" {
			continue
		}
		path := filepath.Join(dir, name)
		if !filepath.IsAbs(path) {
			path = filepath.Join(workDir, path)
		}
		if checkExecutable(name, path) == nil {
			return path, nil
		}
	}
	return "", badCommand(unix.ENOENT, "command not found: %q", name)
}

func checkExecutable(name, path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		return badCommand(unix.ENOENT, "command not found: %q", name)
	case errors.Is(err, fs.ErrPermission):
		return badCommand(unix.EACCES, "command %q cannot be reached: permission denied", name)
	case err != nil:
		return badCommand(unix.EIO, "command %q: %v", name, reason(err))
	case st.IsDir():
		return badCommand(unix.EISDIR, "command %q is a directory", name)
	case !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0:
		return badCommand(unix.EACCES, "command %q is not executable", name)
	}
	return nil
}

// execFailure says in words why exec refused a program that is there.
func execFailure(name, path string, err error) error {
	var errno syscall.Errno
	errors.As(err, &errno)
	switch errno {
	case unix.ENOENT:
		return badCommand(errno, "command %q needs an interpreter that is not there (%s)", name, interpreter(path))
	case unix.ENOEXEC:
		return badCommand(errno, "command %q is neither a program for this machine nor a script that begins with #!", name)
	case unix.EACCES, unix.EPERM:
		return badCommand(errno, "command %q may not be executed: permission denied", name)
	case unix.E2BIG:
		return badCommand(errno, "command %q: arguments and environment are too large", name)
	case unix.ETXTBSY, unix.ELOOP, unix.ENAMETOOLONG, unix.ELIBBAD:
		return badCommand(errno, "command %q: %v", name, errno)
	}
	return failed("starting the program", err)
}

// interpreter returns the first line of a script, for a message.
func interpreter(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unreadable"
	}
	defer f.Close()
	b := make([]byte, 128)
	n, _ := f.Read(b)
	line, _, _ := strings.Cut(string(b[:n]), "\n")
	if !strings.HasPrefix(line, "#!") {
		return "its dynamic loader"
	}
	return strings.TrimSpace(line[2:])
}

// envValue returns the value of the last entry of that name.
func envValue(env []string, name string) string {
	value := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}
