// Package isolation runs a program of somebody else on Linux, apart from the
// others, at the level "process": an own session, user, mount and pid
// namespace as far as the machine allows, a clean environment, no privileges,
// and an end that leaves nothing behind.
//
// Each instance has an init: this binary, started again as `weir init`. It
// sets the sandbox up, starts the program, reaps, forwards SIGTERM, writes how
// it ended into a file, and exits. So an instance depends on nobody who
// started it, and whoever comes next can adopt it.
//
//	Dir/<id>/init.json      who the init is; written before the program runs
//	Dir/<id>/exit.json      how it ended; written by the init
//	Dir/<id>/init.log       what the init has to say; empty
//	Dir/<id>/stdout,stderr  FIFOs
//	Dir/<id>/rw/{upper,work,lower}   the writable layer over Spec.Tree
//	Dir/<id>/fs             a copy of Spec.Tree where there are no overlays
package isolation

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"weir/internal/platform"
)

// InitCommand is the hidden sub-command of the binary that becomes the init of
// an instance: `weir init <id>`.
const InitCommand = "init"

// HomeRoot is where a program finds its tree in a namespace of its own.
const HomeRoot = "/home/vcap"

// IsInit reports whether this process was started to be an init.
func IsInit() bool {
	return len(os.Args) > 1 && os.Args[1] == InitCommand && os.Getenv(initEnv) != ""
}

// initEnv marks a process as init, so that nobody becomes one by a slip.
const initEnv = "WEIR_INIT"

// notByHand ends a process that somebody started as an init out of curiosity.
func notByHand() {
	fmt.Fprintf(os.Stderr, "weir: the command %q is started by weir itself\n", InitCommand)
	os.Exit(1)
}

// Config is what a Host needs.
type Config struct {
	// Dir holds one directory per instance. As root it and its parents must be
	// passable (mode 0711) for the uids of instances.
	Dir string
	// Exe is the binary that becomes init. Empty means this one.
	Exe string
	// Without names what must not be used though the machine has it, to test
	// what happens elsewhere: see the Without constants.
	Without []string
	// InitEnv is added to the environment of inits. Programs never see it.
	InitEnv []string
	Logger  *slog.Logger // nil discards
}

// What Config.Without can name.
const (
	WithoutNamespaces = "namespaces" // pid, mount (and user) namespaces
	WithoutOverlay    = "overlay"    // overlay mounts: the tree is copied
	WithoutCgroups    = "cgroups"    // v1 and v2: memory is polled
)

// Capabilities is what a machine allows, found by trying.
type Capabilities struct {
	// Root: instances get users of their own.
	Root bool
	// Namespaces: an instance sees its own processes only, and its tree at HomeRoot.
	Namespaces bool
	// Overlay: a tree is shared by its instances. Otherwise each gets a copy.
	Overlay bool
	// Mapped: a directory used in place shows itself as the program's own,
	// whoever owns it; as root only.
	Mapped bool
	// Tracking: a cgroup of version 2 per instance, which can be killed as a whole.
	Tracking bool
	// Memory says how the limit is enforced: "cgroup1", "cgroup2" or "polled".
	Memory string
	// Missing says, one sentence each, what is not as good as it could be.
	Missing []string
}

// Spec is one program and the room it gets.
type Spec struct {
	// ID names the instance and its directory: letters, digits, '-', '_', '.'.
	ID string
	// Tree is an immutable directory that the program sees writable. Root,
	// instead, is a directory that it works on in place: where that is Mapped,
	// what it makes there belongs to the directory's owner.
	Tree, Root string
	// Args is the argument vector; Args[0] is a path, relative to WorkDir if
	// not absolute, or is looked up in the PATH of Env.
	Args []string
	Env  []string // complete: nothing is inherited
	// WorkDir is relative to the tree.
	WorkDir string
	// UID and GID are the user and group of the program, and LogGID the group
	// that may read its output; as root only.
	UID, GID, LogGID int
	MemoryMB         int // 0: no limit
	// Processes limits the processes and threads of UID; as root only. 0: no limit.
	Processes int
	// Timeout ends the instance when it ran that long. Zero means never.
	Timeout time.Duration
	// Hide is a directory that the program sees empty, where there are
	// namespaces, except for the entries of it that are named in Show.
	Hide string
	Show []string
}

// Exit says how an instance ended.
type Exit struct {
	Code     int       `json:"code"`             // -1 when killed by a signal
	Signal   string    `json:"signal,omitempty"` // "SIGKILL"
	OOM      bool      `json:"oom,omitempty"`
	TimedOut bool      `json:"timed_out,omitempty"`
	Stopped  bool      `json:"stopped,omitempty"` // after Terminate or Kill
	Forced   bool      `json:"forced,omitempty"`  // after Kill
	At       time.Time `json:"at"`
	// Source says how it is known.
	Source Source `json:"source,omitempty"`
}

// Source is how the end of an instance is known, best first.
type Source string

// The sources.
const (
	SourceRecord   Source = "record"   // the init waited for it and wrote it down
	SourcePidfd    Source = "pidfd"    // the init died; the kernel says how
	SourceInferred Source = "inferred" // it is not there any more
)

// Reason returns the exit in words. The limits are those of its Spec.
func (e Exit) Reason(memoryMB int, timeout time.Duration) string {
	switch {
	case e.Source == SourceInferred:
		return "lost: the machine or the instance's supervisor ended"
	case e.OOM:
		return fmt.Sprintf("out of memory (limit %s)", platform.FormatMegabytes(memoryMB))
	case e.TimedOut:
		return fmt.Sprintf("timed out after %s", timeout)
	case e.Source == SourcePidfd:
		return "the instance's supervisor was ended by " + e.cause()
	case e.Forced:
		return "killed: still running when the grace period was over"
	case e.Stopped && e.Signal != "":
		return "stopped by " + e.Signal
	case e.Signal != "":
		return "killed by " + e.Signal
	}
	return fmt.Sprintf("exited with status %d", e.Code)
}

// IsLost reports whether the program ended because what watches over it did: the
// machine or its supervisor. That it used too much memory is its own doing.
func (e Exit) IsLost() bool {
	return !e.OOM && (e.Source == SourceInferred || e.Source == SourcePidfd)
}

func (e Exit) cause() string {
	if e.Signal != "" {
		return e.Signal
	}
	return fmt.Sprintf("status %d", e.Code)
}

// Usage is what an instance uses at one moment.
type Usage struct {
	CPUTime     time.Duration // since its start, all processes together
	MemoryBytes int64
	DiskBytes   int64 // written; measured from time to time
	FDs         int
	Processes   int
}

// A CommandError says why a program cannot be run; it is the fault of its
// owner, not of the machine.
type CommandError struct {
	Msg string // "command not found: \"foo\""
	Err error
}

func (e *CommandError) Error() string { return e.Msg }

func (e *CommandError) Unwrap() error { return e.Err }

// ErrExists is the error of a Start whose ID is taken.
var ErrExists = errors.New("instance exists")

// ErrNotFound is the error of an Adopt whose instance never came to run.
var ErrNotFound = errors.New("no such instance")

// ValidID reports whether id may name an instance.
func ValidID(id string) bool {
	if id == "" || len(id) > 100 || id[0] == '.' {
		return false
	}
	return strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}
