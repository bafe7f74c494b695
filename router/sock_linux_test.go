package router

import (
	"net"
	"testing"
	"time"
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
