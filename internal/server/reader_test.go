package server

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// loseReader is the word that makes this binary a program that goes on writing
// to a standard error nobody reads any more.
const loseReader = "lose-reader"

// writeUnread is that program: without outliveReader its first write ends it.
func writeUnread() {
	outliveReader()
	for range 3 {
		fmt.Fprintln(os.Stderr, "another line")
	}
	os.Exit(0)
}

// As with weir serve 2>&1 | tee log, when tee is ended.
func TestServe_OutlivesWhoeverReadsItsLog(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], loseReader)
	cmd.Stderr = w
	if err := cmd.Run(); err != nil {
		t.Errorf("it ended by %v", err)
	}
}
