package router

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBoundUnsent_KeepsTheKernelFromTakingWhatNobodyReads writes to a client
// that reads nothing, over a connection whose listener was bounded.
func TestBoundUnsent_KeepsTheKernelFromTakingWhatNobodyReads(t *testing.T) {
	ln, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	boundUnsent(ln)
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	n, err := c.Write(make([]byte, 64<<20))
	if err == nil || n > 8*mostUnsent {
		t.Errorf("the kernel took %d bytes (%v), want at most a few times %d", n, err, mostUnsent)
	}
}

// TestDial_ControlsNoCongestionWithinTheMachine asks the kernel which control a
// connection to an instance has.
func TestDial_ControlsNoCongestionWithinTheMachine(t *testing.T) {
	ln, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	u, err := (&backend{addr: ln.Addr().String()}).dial(context.Background(), &Config{DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer u.discard()
	var control string
	if err := u.raw.Control(func(fd uintptr) {
		control, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	}); err != nil {
		t.Fatal(err)
	}
	if err != nil || control != "reno" {
		t.Errorf("its congestion control is %q (%v), want reno", control, err)
	}
}
