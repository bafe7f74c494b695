//go:build !linux

package load

import "errors"

// Loop is described in loop_linux.go.
type Loop struct{}

// New returns an error: there is no epoll here.
func New(int) (*Loop, error) { return nil, errors.New("measuring proxies needs Linux") }

// Instance returns nothing.
func (l *Loop) Instance() string { return "" }

// Close does nothing.
func (l *Loop) Close() {}

// Run is never reached.
func (l *Loop) Run(Plan) (Result, error) {
	return Result{}, errors.New("measuring proxies needs Linux")
}
