package isolation

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkStart measures a start, from the call until the program was exec'd,
// beside a bare start of the same program and one of this binary. With
// WEIR_BENCH_EXE the inits are of that binary: the whole weir, for example.
func BenchmarkStart(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.Command("/bin/sleep", "1000")
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			cmd.Process.Kill()
			cmd.Wait()
			b.StartTimer()
		}
	})
	b.Run("re-exec", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.Command("/proc/self/exe", "helper-nothing")
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) { benchStart(b, m.without) })
	}
}

func benchStart(b *testing.B, without []string) {
	dir, err := os.MkdirTemp("", "weir-isolation-")
	if err != nil {
		b.Fatal(err)
	}
	defer removeTree(dir)
	if err := os.MkdirAll(filepath.Join(dir, "tree", "app"), 0o755); err != nil {
		b.Fatal(err)
	}
	os.Chmod(dir, 0o711)
	if os.Geteuid() == 0 {
		os.Chown(filepath.Join(dir, "tree"), stagedBy, stagedBy)
	}
	h, err := Open(b.Context(), Config{Dir: filepath.Join(dir, "instances"), Without: without, Exe: os.Getenv("WEIR_BENCH_EXE")})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	n := 0
	for b.Loop() {
		n++
		inst, err := h.Start(b.Context(), Spec{
			ID: fmt.Sprintf("i-%d", n), Tree: filepath.Join(dir, "tree"), WorkDir: "app", MemoryMB: 64,
			Args: []string{"/bin/sleep", "1000"}, UID: 200000, GID: 200000,
		})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		inst.Kill()
		inst.Wait(context.Background())
		inst.Remove()
		b.StartTimer()
	}
}
