package archive

import (
	"archive/tar"
	stdzip "archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"weir/internal/platform"
)

const tenGB = 10 << 30

// deflatedZeros returns tenGB of zeros, deflated: about 10 MB, put together
// from one repeated piece.
var deflatedZeros = sync.OnceValue(func() []byte {
	const piece = 32 << 20
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		panic(err)
	}
	zeros := make([]byte, piece)
	write := func() []byte {
		from := out.Len()
		if _, err := w.Write(zeros); err != nil {
			panic(err)
		}
		if err := w.Flush(); err != nil {
			panic(err)
		}
		return bytes.Clone(out.Bytes()[from:])
	}
	write()
	again := write() // refers back to zeros, whichever came before
	for range tenGB/piece - 2 {
		out.Write(again)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
})

// zipBomb holds tenGB of zeros, and says so or not.
func zipBomb(t testing.TB, declared uint64) []byte {
	t.Helper()
	data := deflatedZeros()
	var b bytes.Buffer
	w := stdzip.NewWriter(&b)
	h := &stdzip.FileHeader{Name: "bomb", Method: stdzip.Deflate, CRC32: crc32.ChecksumIEEE([]byte("?"))}
	h.CompressedSize64, h.UncompressedSize64 = uint64(len(data)), declared
	f, err := w.CreateRaw(h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tarHeader starts a tar of one file of declared zeros, as long as the stream goes.
func tarHeader(t testing.TB, declared int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "bomb", Size: declared, Typeflag: tar.TypeReg, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzBomb(t testing.TB, declared int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(tarHeader(t, declared)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// A second gzip member goes on where the first one ends.
	b.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255})
	b.Write(deflatedZeros())
	b.Write(make([]byte, 8))
	return b.Bytes()
}

func zstBomb(t testing.TB, declared int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	if _, err := w.Write(tarHeader(t, declared)); err != nil {
		t.Fatal(err)
	}
	for range 256 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// cpuTime is what this process has used: on a busy machine the clock says
// little.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func TestUnpack_RefusesBombsEarlyWithFlatMemory(t *testing.T) {
	huge := Options{Limits: Limits{Bytes: 1 << 40}} // only the ratio may stop it
	for _, tt := range []struct {
		name  string
		data  []byte
		opts  Options
		title string
	}{
		{"zip of 10 GB that admits it", zipBomb(t, tenGB), Options{}, TitleBomb},
		{"zip of 10 GB that says 1 MB", zipBomb(t, 1<<20), huge, TitleSizeMismatch},
		{"zip of 10 GB that says 30 MB", zipBomb(t, 30_000_000), huge, TitleSizeMismatch},
		{"tar.gz of 10 GB", gzBomb(t, tenGB), huge, TitleBomb},
		{"tar.gz of 10 GB, over the limit on bytes", gzBomb(t, tenGB), Options{}, TitleTooLarge},
		{"tar.gz of padding", gzBomb(t, 0), huge, TitleBomb},
		{"tar.zst", zstBomb(t, tenGB), huge, TitleBomb},
	} {
		t.Run(tt.name, func(t *testing.T) {
			outside, dst := sandbox(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := cpuTime()
			_, err := unpack(t, tt.data, dst, tt.opts)
			took := cpuTime() - start
			runtime.ReadMemStats(&after)
			if e, ok := errors.AsType[*platform.Error](err); !ok || e.Title != tt.title {
				t.Errorf("got %v, want %s", err, tt.title)
			}
			wrote := int64(0)
			for _, v := range snapshot(t, outside) {
				wrote += int64(len(v))
			}
			t.Logf("%v, %d KiB allocated, %d KiB written", took, (after.TotalAlloc-before.TotalAlloc)>>10, wrote>>10)
			if after.TotalAlloc-before.TotalAlloc > 64<<20 {
				t.Errorf("took %d MiB", (after.TotalAlloc-before.TotalAlloc)>>20)
			}
			if wrote > 64<<20 {
				t.Errorf("wrote %d bytes before it stopped", wrote)
			}
			if tt.title == TitleBomb && wrote > 24<<20 { // 10 MiB, and 200 times what the decoder reads ahead
				t.Errorf("wrote %d bytes before it stopped", wrote)
			}
		})
	}
}

// A zip whose entries all use the same data is small and unpacks to anything.
func TestUnpack_RefusesOverlappingEntriesBeforeWriting(t *testing.T) {
	kernel := rawZip([]item{file("a", "0123456789")}, nil)
	const copies = 1000
	c := bytes.Index(kernel, []byte("PK\x01\x02"))
	central := kernel[c : c+lenCentral+1]
	out := bytes.Clone(kernel[:c])
	for range copies {
		out = append(out, central...)
	}
	end := bytes.Clone(kernel[c+len(central):])
	binary.LittleEndian.PutUint32(end[12:], uint32(copies*len(central)))
	out = append(out, miscount(end, copies)...)
	dst := t.TempDir()
	_, err := unpack(t, out, dst, Options{})
	if e, ok := errors.AsType[*platform.Error](err); !ok || e.Title != TitleOverlap {
		t.Errorf("got %v", err)
	}
	if got := snapshot(t, dst); len(got) != 1 {
		t.Errorf("wrote %v", got)
	}
}

// A directory of a zip that is nothing but names and comments must not fill
// the memory.
func TestUnpack_BoundsTheDirectoryOfAZip(t *testing.T) {
	var b bytes.Buffer
	w := stdzip.NewWriter(&b)
	comment := string(make([]byte, 60_000))
	for i := range maxExtras/len(comment) + 2 {
		h := &stdzip.FileHeader{Name: strconv.Itoa(i), Comment: comment}
		if _, err := w.CreateRaw(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := unpack(t, b.Bytes(), t.TempDir(), Options{})
	if e, ok := errors.AsType[*platform.Error](err); !ok || e.Title != TitleTooManyEntries {
		t.Errorf("got %v", err)
	}
}

func TestLinks_GiveUpOnTangles(t *testing.T) {
	links := Links{}
	long := ""
	for range 1000 {
		long += "x/../"
	}
	for i := range 20_000 {
		links[string(rune(i+0x4e00))] = long + string(rune(i+0x4e01))
	}
	start := cpuTime()
	err := links.Check(nil)
	if e, ok := errors.AsType[*platform.Error](err); !ok || e.Title != TitleLinkInvalid {
		t.Errorf("got %v", err)
	}
	if took := cpuTime() - start; took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
