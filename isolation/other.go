//go:build !linux

package isolation

import (
	"context"
	"errors"
	"syscall"
)

var errNotLinux = errors.New("instances need Linux")

// InitMain is the whole life of an instance's init; there are none here.
func InitMain() { notByHand() }

// Identity names a process for good.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
	Boot  string `json:"boot"`
}

// ErrGone is the error of a Find that found nobody.
var ErrGone = errors.New("process is gone")

// Identify is for Linux.
func Identify(int) (Identity, error) { return Identity{}, errNotLinux }

// Find is for Linux.
func Find(Identity) (*Process, error) { return nil, errNotLinux }

// Process is a handle on a process.
type Process struct{ id Identity }

// Identity returns who it is.
func (p *Process) Identity() Identity { return p.id }

// Close gives the handle back.
func (p *Process) Close() error { return nil }

// Signal is for Linux.
func (p *Process) Signal(syscall.Signal) error { return errNotLinux }

// Wait is for Linux.
func (p *Process) Wait(context.Context) error { return errNotLinux }

// Reap is for Linux.
func (p *Process) Reap() (syscall.WaitStatus, bool) { return 0, false }

// Host starts and adopts instances.
type Host struct{}

// Open is for Linux.
func Open(context.Context, Config) (*Host, error) { return nil, errNotLinux }

// Capabilities returns what Open found.
func (h *Host) Capabilities() Capabilities { return Capabilities{} }

// Close gives back what Open made.
func (h *Host) Close() error { return nil }

// RootOf returns the path at which a program will find its tree.
func (h *Host) RootOf(Spec) string { return HomeRoot }

// Start is for Linux.
func (h *Host) Start(context.Context, Spec) (*Instance, error) { return nil, errNotLinux }

// Adopt is for Linux.
func (h *Host) Adopt(string) (*Instance, error) { return nil, errNotLinux }

// RemoveLeftover is for Linux.
func (h *Host) RemoveLeftover(string) error { return errNotLinux }

// Instance is a started program.
type Instance struct{}

// PID returns the program's process ID.
func (i *Instance) PID() int { return 0 }

// Reason says in words how the instance ended.
func (i *Instance) Reason(Exit) string { return "" }

// Close gives the handle back.
func (i *Instance) Close() {}

// Terminate asks the program to end.
func (i *Instance) Terminate() {}

// Kill kills the program and everything that came of it.
func (i *Instance) Kill() {}

// Destroy kills the init as well.
func (i *Instance) Destroy() {}

// Wait is for Linux.
func (i *Instance) Wait(context.Context) (Exit, error) { return Exit{}, errNotLinux }

// Usage is for Linux.
func (i *Instance) Usage() (Usage, error) { return Usage{}, errNotLinux }

// SetBackground is for Linux.
func (i *Instance) SetBackground(bool) error { return errNotLinux }

// IsBackground is for Linux.
func (i *Instance) IsBackground() bool { return false }

// Remove is for Linux.
func (i *Instance) Remove() error { return errNotLinux }
