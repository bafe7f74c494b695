package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
)

// TestProfile_TellsNothingOfTheMachine makes a profile of this test and looks
// for the paths of its files.
func TestProfile_TellsNothingOfTheMachine(t *testing.T) {
	var made bytes.Buffer
	if err := pprof.StartCPUProfile(&made); err != nil {
		t.Skip("a profile is being made already: ", err)
	}
	for i := range 1 << 20 {
		runtime.KeepAlive(strings.Repeat("x", i&255))
	}
	pprof.StopCPUProfile()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(unzip(t, made.Bytes()), exe) {
		t.Fatal("the profile does not name the program: this test looks at nothing")
	}
	got, err := withoutPaths(made.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if text := unzip(t, got); strings.Contains(text, exe) || !strings.Contains(text, filepath.Base(exe)) {
		t.Errorf("the profile still names %s, or its program no more", exe)
	}
	if _, err := withoutPaths([]byte("no profile")); err == nil {
		t.Error("what is no profile is taken for one")
	}
	kept, err := os.ReadFile(filepath.Join("..", "..", profileFile))
	if err != nil {
		t.Fatal(err)
	}
	if text := unzip(t, kept); !strings.Contains(text, "weir/router.(*exchange).serve") {
		t.Errorf("%s knows nothing of the router: make profile", profileFile)
	}
}

func unzip(t *testing.T, b []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
