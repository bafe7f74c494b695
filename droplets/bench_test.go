package droplets

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/droplets/archive"
)

// The goal for all of these: 24,000 files, 300 MB, at most 2 s.
const (
	benchFiles = 24_000
	benchBytes = 300 << 20
)

func benchTree(b *testing.B) string {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "src")
	appTree(b, dir, benchFiles, benchBytes)
	return dir
}

func benchZip(b *testing.B, dir string) *bytes.Reader {
	b.Helper()
	var buf bytes.Buffer
	if _, err := archive.Pack(b.Context(), &buf, dir, archive.Zip, ""); err != nil {
		b.Fatal(err)
	}
	return bytes.NewReader(buf.Bytes())
}

func BenchmarkCommit24k(b *testing.B) {
	src := benchTree(b)
	for range b.N {
		b.StopTimer()
		s := newStore(b, Options{})
		dir := filepath.Join(s.session, "build")
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := s.copyTree(b.Context(), src, dir); err != nil {
			b.Fatal(err)
		}
		if err := syncFS(s.lock); err != nil { // what the build wrote is not ours to pay for
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := s.Commit(b.Context(), dir, CommitInfo{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutPackage24k(b *testing.B) {
	bits := benchZip(b, benchTree(b))
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		s := newStore(b, Options{})
		if err := syncFS(s.lock); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, _, err := s.PutPackage(b.Context(), io.NewSectionReader(bits, 0, bits.Size()), nil); err != nil {
			b.Fatal(err)
		}
	}
}

// What a second push costs the server: everything is matched, or all but one
// new file.
func BenchmarkPutPackage24kMatched(b *testing.B) {
	bits := benchZip(b, benchTree(b))
	s := newStore(b, Options{})
	digest, _, err := s.PutPackage(b.Context(), bits, nil)
	if err != nil {
		b.Fatal(err)
	}
	m, err := s.PackageManifest(b.Context(), digest)
	if err != nil {
		b.Fatal(err)
	}
	var claims []Resource
	for _, f := range m.Files {
		if f.Mode.IsRegular() {
			claims = append(claims, Resource{Path: f.Path, Mode: f.Mode, SHA1: f.SHA1, Size: f.Size})
		}
	}
	b.Run("match", func(b *testing.B) {
		for range b.N {
			if found, err := s.Match(b.Context(), claims); err != nil || !found[0] {
				b.Fatal(err, found[:1])
			}
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		for range b.N {
			if _, _, err := s.PutPackage(b.Context(), nil, claims); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one-changed", func(b *testing.B) {
		for range b.N {
			changed := files{claims[0].Path: time.Now().String()}.zip(b)
			if _, _, err := s.PutPackage(b.Context(), changed, claims[1:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCopyPackage24k(b *testing.B) {
	bits := benchZip(b, benchTree(b))
	s := newStore(b, Options{})
	digest, _, err := s.PutPackage(b.Context(), bits, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		if err := syncFS(s.lock); err != nil {
			b.Fatal(err)
		}
		dst := filepath.Join(b.TempDir(), "copy")
		b.StartTimer()
		if err := s.CopyPackage(b.Context(), digest, dst); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify24k(b *testing.B) {
	s := newStore(b, Options{})
	m, err := s.Commit(b.Context(), benchTree(b), CommitInfo{})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("check", func(b *testing.B) {
		for range b.N {
			if err := s.Check(b.Context(), m.Digest); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		for range b.N {
			if err := s.Verify(b.Context(), m.Digest); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkExport24k(b *testing.B) {
	s := newStore(b, Options{})
	m, err := s.Commit(b.Context(), benchTree(b), CommitInfo{})
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range []archive.Format{archive.TarZst, archive.TarGz} {
		b.Run(string(f), func(b *testing.B) {
			for range b.N {
				if err := s.Export(b.Context(), m.Digest, f, io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
