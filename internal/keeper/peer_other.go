//go:build !linux

package keeper

import (
	"errors"
	"net"
)

var errNotLinux = errors.New("the keeper needs Linux")

func peerUID(*net.UnixConn) (int, error) { return -1, errNotLinux }
