package droplets

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"weir/internal/platform"
)

// newStore opens a store that instances under other uids could reach.
func newStore(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "droplets"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// reopen is what a restart after a crash does; the lock of a dead process is
// gone, so it is let go here.
func reopen(t testing.TB, s *Store, o Options) *Store {
	t.Helper()
	s.lock.Close()
	again, err := Open(s.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.Close() })
	return again
}

// files is a tree as tests write it down: path → content. A path ending in /
// is a directory, content starting with "->" a symbolic link, a path starting
// with * a program.
type files map[string]string

func (f files) write(t testing.TB, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range f {
		mode := fs.FileMode(0o644)
		if name[0] == '*' {
			name, mode = name[1:], 0o755
		}
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		target, isLink := strings.CutPrefix(content, "->")
		switch {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		case isLink:
			err = os.Symlink(target, p)
		default:
			err = os.WriteFile(p, []byte(content), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (f files) zip(t testing.TB) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range f {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o644)
		if name[0] == '*' {
			h.Name = name[1:]
			h.SetMode(0o755)
		}
		if target, ok := strings.CutPrefix(content, "->"); ok {
			h.SetMode(fs.ModeSymlink | 0o777)
			content = target
		}
		if strings.HasSuffix(name, "/") {
			h.SetMode(fs.ModeDir | 0o755)
		}
		e, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write([]byte(content)); err != nil && content != "" {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// read is the inverse of write.
func read(t testing.TB, dir string) files {
	t.Helper()
	got := files{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		name := p[len(dir)+1:]
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			got[name+"/"] = ""
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			got[name] = "->" + target
			return err
		default:
			if info.Mode()&0o111 != 0 {
				name = "*" + name
			}
			b, err := os.ReadFile(p)
			got[name] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func resource(path, content string, mode fs.FileMode) Resource {
	sum := sha1.Sum([]byte(content))
	return Resource{Path: path, Mode: mode, SHA1: hex.EncodeToString(sum[:]), Size: int64(len(content))}
}

// titleOf is the title of the platform.Error in err, "" if there is none.
func titleOf(err error) string {
	if e, ok := errors.AsType[*platform.Error](err); ok {
		return e.Title
	}
	return ""
}

// usage adds up the blocks of everything below dir, each inode once.
func usage(t testing.TB, dir string) (bytes int64, inodes int) {
	t.Helper()
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if seen[st.Ino] || d.IsDir() {
			return nil // the shards of the pool and the session come and go
		}
		seen[st.Ino] = true
		bytes += st.Blocks * 512
		inodes++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes, inodes
}

// inodeOf tells whether two names are one file.
func inodeOf(t testing.TB, name string) uint64 {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

// appTree writes n files of together about size bytes the way node_modules
// are shaped: many small ones, a few large, five levels deep.
func appTree(t testing.TB, dir string, n int, size int64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	words := make([]byte, 1<<20)
	for i := range words {
		words[i] = "etaoin shrdlu{}();\n"[rng.IntN(19)]
	}
	each := size / int64(n)
	for i := range n {
		d := filepath.Join(dir, "node_modules", fmt.Sprintf("package-%d", i/40), "lib", fmt.Sprintf("part-%d", i/10%4))
		if i%10 == 0 {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		length := each / 4
		if i%16 == 0 {
			length = each * 12
		}
		from := rng.IntN(len(words) / 2)
		body := append([]byte(fmt.Sprintln("//", i)), words[from:min(from+int(length), len(words))]...)
		if err := os.WriteFile(filepath.Join(d, fmt.Sprintf("file-%d.js", i)), body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
