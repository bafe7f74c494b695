package archive

import (
	"archive/tar"
	stdzip "archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// item is one entry of an archive made by a test.
type item struct {
	name string
	body string
	mode fs.FileMode // 0 means 0644; ModeSymlink makes body the target
	// edit changes the headers before they are written.
	zip func(*stdzip.FileHeader)
	tar func(*tar.Header)
}

func file(name, body string) item { return item{name: name, body: body} }
func dir(name string) item        { return item{name: name, mode: fs.ModeDir | 0o755} }

func link(name, target string) item {
	return item{name: name, body: target, mode: fs.ModeSymlink | 0o777}
}

func hardlink(name, target string) item {
	return item{name: name, tar: func(h *tar.Header) {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, target, 0
	}}
}

func special(name string, typeflag byte) item {
	return item{name: name, tar: func(h *tar.Header) { h.Typeflag = typeflag }}
}

func zipOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := stdzip.NewWriter(&b)
	for _, it := range items {
		h := &stdzip.FileHeader{Name: it.name, Method: stdzip.Deflate}
		if it.mode == 0 {
			it.mode = 0o644
		}
		h.SetMode(it.mode)
		if it.mode.IsDir() {
			h.Method = stdzip.Store
		}
		if it.zip != nil {
			it.zip(h)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if it.mode.IsDir() {
			continue
		}
		if _, err := io.WriteString(f, it.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rawZip writes entries with sizes in the local headers, so that tests can
// bend both sides; bend gets each local and central header before the name.
func rawZip(items []item, bend func(i int, local, central []byte)) []byte {
	var b, central bytes.Buffer
	le := binary.LittleEndian
	for i, it := range items {
		local := make([]byte, lenLocal)
		le.PutUint32(local, sigLocal)
		le.PutUint16(local[4:], 20)
		le.PutUint32(local[18:], uint32(len(it.body)))
		le.PutUint32(local[22:], uint32(len(it.body)))
		le.PutUint16(local[26:], uint16(len(it.name)))
		c := make([]byte, lenCentral)
		le.PutUint32(c, sigCentral)
		c[5] = creatorUnix
		le.PutUint16(c[6:], 20)
		le.PutUint32(c[20:], uint32(len(it.body)))
		le.PutUint32(c[24:], uint32(len(it.body)))
		le.PutUint16(c[28:], uint16(len(it.name)))
		le.PutUint32(c[38:], uint32(unixRegular|0o644)<<16)
		le.PutUint32(c[42:], uint32(b.Len()))
		if bend != nil {
			bend(i, local, c)
		}
		b.Write(local)
		b.WriteString(it.name)
		b.WriteString(it.body)
		central.Write(c)
		central.WriteString(it.name)
	}
	end := make([]byte, lenEnd)
	le.PutUint32(end, sigEnd)
	le.PutUint16(end[8:], uint16(len(items)))
	le.PutUint16(end[10:], uint16(len(items)))
	le.PutUint32(end[12:], uint32(central.Len()))
	le.PutUint32(end[16:], uint32(b.Len()))
	b.Write(central.Bytes())
	b.Write(end)
	return b.Bytes()
}

func tarOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, it := range items {
		if it.mode == 0 {
			it.mode = 0o644
		}
		h := &tar.Header{Name: it.name, Mode: int64(it.mode.Perm()), Size: int64(len(it.body)), Typeflag: tar.TypeReg}
		switch {
		case it.mode.IsDir():
			h.Typeflag = tar.TypeDir
		case it.mode&fs.ModeSymlink != 0:
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, it.body, 0
		}
		if it.tar != nil {
			it.tar(h)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("%q: %v", it.name, err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, it.body); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rawTar writes one header by hand, for what the library refuses to write.
func rawTar(name string, typeflag byte, body, linkname string) []byte {
	h := make([]byte, tarBlock)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], octal(len(body), 11)+"\x00"+octal(0, 11)+"\x00")
	h[156] = typeflag
	copy(h[157:], linkname)
	copy(h[257:], "ustar\x0000")
	resum(h)
	out := append(h, body...)
	return append(out, make([]byte, (tarBlock-len(body)%tarBlock)%tarBlock)...)
}

// resum writes the checksum of a tar header that was changed.
func resum(h []byte) {
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h[:tarBlock] {
		sum += int(c)
	}
	copy(h[148:], octal(sum, 6)+"\x00 ")
}

// gnuSparse is a file of 1 MiB that is all hole, in GNU's old way.
func gnuSparse(name string) []byte {
	h := rawTar(name, 'S', "", "")
	copy(h[257:], "ustar  \x00")
	copy(h[386:], octal(1<<20, 11)+"\x00"+octal(0, 11)+"\x00")
	copy(h[483:], octal(1<<20, 11)+"\x00")
	resum(h)
	return h
}

// paxSparse is the same in the PAX 0.1 way.
func paxSparse(name string) []byte {
	var records string
	for _, r := range []string{"GNU.sparse.size=1048576", "GNU.sparse.numblocks=1", "GNU.sparse.map=1048576,0"} {
		n := len(r) + 4 // two digits, space, newline
		records += fmt.Sprintf("%d %s\n", n, r)
	}
	return append(rawTar("pax", 'x', records, ""), rawTar(name, '0', "", "")...)
}

func octal(n, width int) string {
	s := ""
	for ; n > 0; n /= 8 {
		s = string(rune('0'+n%8)) + s
	}
	return strings.Repeat("0", width-len(s)) + s
}

var tarEnd = make([]byte, 2*tarBlock)

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zst(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}
