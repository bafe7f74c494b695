// Package runner is the contract between weir and whatever runs instances: a
// program of an app, or a build. internal/runner/local runs them on this
// machine through the keeper; internal/runner/runnertest holds the suite every
// implementation passes, and a simulator.
//
// A runner runs exactly what it is told and reports how it ended. It never
// decides about versions, restarts or health: that is internal/rollout's.
package runner

import (
	"context"
	"time"

	"weir/internal/platform"
)

// DefaultGrace is the time between SIGTERM and SIGKILL when nothing else is
// said, as in Cloud Foundry.
const DefaultGrace = 10 * time.Second

// Spec is one program to run. It never changes once started.
type Spec struct {
	// GUID names the instance; Start refuses one that exists.
	GUID    string
	AppGUID string
	Process string // "web", "worker", or "" for a build
	Index   int
	// Tree is the absolute path of an immutable droplet tree. The instance
	// sees it writable; nothing it writes reaches the tree or another instance.
	Tree string
	// Root, instead of Tree, is a directory used in place and writable: builds.
	Root string
	// Args is the argument vector; Args[0] is a path or found in the PATH of Env.
	Args []string
	// Env returns the complete environment: nothing is inherited. It is called
	// once, when the endpoint is known.
	Env func(Endpoint) []string `json:"-"`
	// Dir is the working directory relative to the root of the tree, such as "app".
	Dir      string
	MemoryMB int // 0: no limit
	DiskMB   int // 0: no limit; informative for runners without disk quotas
	Ports    int // 0 or 1
	// Grace is the time between SIGTERM and SIGKILL. Zero means DefaultGrace.
	Grace time.Duration
	// Timeout ends the instance as a whole when it ran that long. Zero means never.
	Timeout time.Duration
	// Background has it give way to others from the start, as SetBackground
	// does later.
	Background bool
}

// Endpoint says where an instance is reached and where it finds itself.
type Endpoint struct {
	Host string // what the router dials; empty without a port
	Port int    // 0 when Spec.Ports is 0
	// Root and Home are the paths the process sees: /home/vcap and
	// /home/vcap/app where a mount namespace is possible, else the real ones.
	Root string
	Home string
	IP   string // the address of the instance, for CF_INSTANCE_IP
}

// Status is what a runner knows about an instance.
type Status struct {
	GUID    string
	AppGUID string
	Process string
	Index   int
	Running bool
	// PID is the program's process ID as this machine sees it; for display.
	PID       int
	Endpoint  Endpoint
	StartedAt time.Time
	// Background says that it gives way to others; see SetBackground.
	Background bool
	Exit       *platform.Exit // set once it ended
}

// Event reports that an instance ended.
type Event struct {
	GUID string
	Exit platform.Exit
}

// Stats is what an instance uses, over all its processes.
type Stats struct {
	CPU         float64 // cores, on average since the last sample
	MemoryBytes int64
	DiskBytes   int64 // written by the instance; may lag by some seconds
	FDs         int
}

// Runner runs instances.
type Runner interface {
	// Start returns when the program was exec'd. A program that cannot be
	// started is a KindInvalid error that says why; no room (ports, memory,
	// disk) is KindExhausted; a runner that cannot be reached KindUnavailable.
	Start(ctx context.Context, s Spec) (Status, error)
	// Stop sends SIGTERM, waits for the grace (zero: the Spec's), kills the
	// whole tree, and returns when nothing of the instance is left running.
	// It is idempotent; an unknown instance is no error. The stop goes on when
	// ctx ends.
	Stop(ctx context.Context, guid string, grace time.Duration) error
	// Remove forgets an ended instance and deletes what it wrote. A running
	// one is a KindConflict error; an unknown one is no error.
	Remove(ctx context.Context, guid string) error
	// List returns everything alive, or ended and not removed.
	List(ctx context.Context) ([]Status, error)
	// Watch delivers the end of each instance at least once: first of those
	// ended and not removed, then as they end. The channel is closed when ctx
	// ends or the runner is lost; then call Watch again.
	Watch(ctx context.Context) (<-chan Event, error)
	// Stats returns the use of a running instance, KindNotFound otherwise.
	Stats(ctx context.Context, guid string) (Stats, error)
	// SetBackground has a running instance give way to others when processors
	// are scarce, or no longer, as far as the machine allows that. It is
	// idempotent; an instance that does not run is a KindNotFound error.
	SetBackground(ctx context.Context, guid string, on bool) error
	// Logs returns the paths of the FIFOs the program writes to. They exist
	// from Start to Remove; open them for reading with O_NONBLOCK. What was not
	// read yet outlives the program; a reader sees EOF after it.
	Logs(guid string) (stdout, stderr string)
}
