package archive

import (
	"archive/tar"
	stdzip "archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"weir/internal/platform"
)

// hostile is one archive that must be refused, and how.
type hostile struct {
	name  string
	data  []byte
	title string
	says  string // part of the message; names the entry where there is one
	opts  Options
}

func unixAttrs(mode uint32) func(*stdzip.FileHeader) {
	return func(h *stdzip.FileHeader) {
		h.CreatorVersion = creatorUnix << 8
		h.ExternalAttrs = mode << 16
	}
}

// inBoth makes the same archive as zip and as tar.
func inBoth(t testing.TB, name, title, says string, items ...item) []hostile {
	t.Helper()
	return []hostile{
		{name: "zip " + name, data: zipOf(t, items...), title: title, says: says},
		{name: "tar " + name, data: tarOf(t, items...), title: title, says: says},
	}
}

func hostileList(t testing.TB) []hostile {
	t.Helper()
	var list []hostile
	add := func(h ...hostile) { list = append(list, h...) }

	// Names.
	add(inBoth(t, "dot-dot", TitleTraversal, `"../evil"`, file("ok", "1"), file("../evil", "x"))...)
	add(inBoth(t, "dot-dot in the middle", TitleTraversal, `"a/../../evil"`, file("a/../../evil", "x"))...)
	add(inBoth(t, "dot-dot that stays inside", TitleTraversal, `"a/../b"`, file("a/../b", "x"))...)
	add(inBoth(t, "absolute", TitleAbsolute, `"/etc/evil"`, file("/etc/evil", "x"))...)
	add(inBoth(t, "drive", TitleDrive, `"C:\\evil.exe"`, file(`C:\evil.exe`, "x"))...)
	add(inBoth(t, "drive with slash", TitleDrive, `"c:/evil"`, file(`c:/evil`, "x"))...)
	add(inBoth(t, "backslash", TitleBackslash, `"a\\b"`, file(`a\b`, "x"))...)
	add(inBoth(t, "backslash dot-dot", TitleBackslash, `"..\\evil"`, file(`..\evil`, "x"))...)
	add(hostile{name: "zip NUL", data: zipOf(t, file("a\x00b", "x")), title: TitleNUL, says: `"a\x00b"`})
	add(hostile{name: "zip empty name", data: zipOf(t, file("", "x")), title: TitleEmptyName, says: "empty name"})
	add(hostile{name: "tar empty name", data: append(rawTar("", '0', "x", ""), tarEnd...), title: TitleEmptyName, says: "empty name"})
	add(inBoth(t, "dot only", TitleEmptyName, `"./"`, file(".", "x"))...)
	add(inBoth(t, "long name", TitleNameTooLong, "255", file("a/"+strings.Repeat("n", 256), "x"))...)
	add(inBoth(t, "long path", TitlePathTooLong, "4096", file(strings.Repeat(strings.Repeat("p", 200)+"/", 21)+"f", "x"))...)
	add(inBoth(t, "deep path", TitleTooDeep, "100", file(strings.Repeat("d/", 100)+"f", "x"))...)

	// Paths that cannot live together.
	add(inBoth(t, "duplicate", TitleDuplicate, `"a/x"`, file("a/x", "1"), file("a/x", "2"))...)
	add(inBoth(t, "duplicate spelt otherwise", TitleDuplicate, `"a/x"`, file("a/x", "1"), file("./a//x", "2"))...)
	add(inBoth(t, "case collision", TitleCaseCollision, `"README" and "readme"`, file("README", "1"), file("readme", "2"))...)
	add(inBoth(t, "case collision of directories", TitleCaseCollision, `"Lib" and "lib"`, file("Lib/a", "1"), file("lib/b", "2"))...)
	add(inBoth(t, "file then directory", TitleConflict, `"a"`, file("a", "1"), file("a/b", "2"))...)
	add(inBoth(t, "directory then file", TitleConflict, `"a"`, file("a/b", "1"), file("a", "2"))...)
	add(inBoth(t, "file then explicit directory", TitleConflict, `"a"`, file("a", "1"), dir("a/"))...)

	// Symbolic links.
	add(inBoth(t, "link out", TitleLinkEscape, `"../../etc/passwd"`, link("a", "../../etc/passwd"))...)
	add(inBoth(t, "link to absolute", TitleLinkAbsolute, `"/etc/passwd"`, link("a", "/etc/passwd"))...)
	add(inBoth(t, "link out by way of a link", TitleLinkEscape, `"evil"`,
		dir("a/b/c/"), link("a/b/c/up", "../../.."), link("evil", "a/b/c/up/../x"))...)
	add(inBoth(t, "write through link", TitleThroughLink, `"out/evil"`, link("out", "a"), file("out/evil", "x"))...)
	add(inBoth(t, "link over its files", TitleThroughLink, `"out"`, file("out/evil", "x"), link("out", "a"))...)
	add(inBoth(t, "link twice", TitleDuplicate, `"a"`, link("a", "b"), link("a", "c"))...)
	add(hostile{name: "zip empty target", data: zipOf(t, link("a", "")), title: TitleLinkInvalid, says: `"a"`})
	add(hostile{name: "zip target with NUL", data: zipOf(t, link("a", "b\x00c")), title: TitleLinkInvalid, says: `"a"`})
	add(hostile{name: "zip huge target", data: zipOf(t, link("a", strings.Repeat("x/", 3000))), title: TitleLinkInvalid, says: `"a"`})

	// Hard links.
	add(hostile{name: "hard link outside", data: tarOf(t, hardlink("a", "../../etc/passwd")), title: TitleHardLinkEscape, says: `"../../etc/passwd"`})
	add(hostile{name: "hard link absolute", data: tarOf(t, hardlink("a", "/etc/passwd")), title: TitleHardLinkEscape, says: `"/etc/passwd"`})
	add(hostile{name: "hard link absent", data: tarOf(t, hardlink("a", "nowhere")), title: TitleHardLinkAbsent, says: `"nowhere"`})
	add(hostile{name: "hard link to later file", data: tarOf(t, hardlink("a", "b"), file("b", "x")), title: TitleHardLinkAbsent, says: `"b"`})
	add(hostile{name: "hard link to link", data: tarOf(t, link("l", "b"), hardlink("a", "l")), title: TitleHardLinkAbsent, says: `"l"`})

	// Special files.
	add(hostile{name: "tar character device", data: tarOf(t, special("null", tar.TypeChar)), title: TitleDevice, says: `"null"`})
	add(hostile{name: "tar block device", data: tarOf(t, special("sda", tar.TypeBlock)), title: TitleDevice, says: `"sda"`})
	add(hostile{name: "tar FIFO", data: tarOf(t, special("pipe", tar.TypeFifo)), title: TitleFIFO, says: `"pipe"`})
	add(hostile{name: "tar unknown type", data: append(rawTar("odd", 'V', "", ""), tarEnd...), title: TitleUnknownType, says: `"odd"`})
	add(hostile{name: "tar GNU sparse", data: append(gnuSparse("holes"), tarEnd...), title: TitleSparse, says: `"holes"`})
	add(hostile{name: "tar PAX sparse", data: append(paxSparse("holes"), tarEnd...), title: TitleSparse, says: `"holes"`})
	for kind, want := range map[uint32]string{unixChar: TitleDevice, unixBlock: TitleDevice, unixFIFO: TitleFIFO, unixSocket: TitleSocket} {
		it := item{name: "odd", zip: unixAttrs(kind | 0o644)}
		add(hostile{name: fmt.Sprintf("zip type %o", kind), data: zipOf(t, it), title: want, says: `"odd"`})
	}

	add(hostileContainers(t)...)
	return list
}

// hostileContainers are archives broken or lying as a whole.
func hostileContainers(t testing.TB) []hostile {
	t.Helper()
	le := binary.LittleEndian
	text := strings.Repeat("the same again and again\n", 4000)
	whole := zipOf(t, file("a", text), file("b", text))
	wholeTar := tarOf(t, file("a", text), file("b", text))
	flipped := bytes.Clone(whole)
	flipped[60] ^= 0xff // in the first entry's data
	flippedGz := gz(t, wholeTar)
	flippedGz[len(flippedGz)/2] ^= 0xff
	badSum := gz(t, wholeTar)
	badSum[len(badSum)-6] ^= 0xff
	badTar := bytes.Clone(wholeTar)
	badTar[tarBlock+(len(text)+tarBlock-1)/tarBlock*tarBlock+3] ^= 0xff // in the second header
	two := []item{file("a", "1111"), file("b", "2222")}
	bent := func(fn func(i int, local, central []byte)) []byte { return rawZip(two, fn) }
	cut := func(b []byte, n int) []byte { return b[:len(b)-n] }

	var zeros bytes.Buffer
	zw, err := zstd.NewWriter(&zeros, zstd.WithWindowSize(256<<20), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := zw.Write(wholeTar); err != nil {
		t.Fatal(err)
	}
	if err := zw.Flush(); err != nil { // no final size: the window stays as asked
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}

	return []hostile{
		{name: "nothing", data: nil, title: TitleEmpty, says: "0 bytes"},
		{name: "text", data: []byte("hello, I am no archive"), title: TitleNotArchive, says: "zip, tar"},
		{name: "script", data: []byte("#!/bin/sh\necho hi\n"), title: TitleNotArchive, says: "script"},
		{name: "7z", data: []byte("7z\xbc\xaf\x27\x1c......"), title: TitleNotArchive, says: "7-Zip"},
		{name: "rar", data: []byte("Rar!\x1a\x07\x00......"), title: TitleNotArchive, says: "RAR"},
		{name: "gzip of text", data: gz(t, []byte(text)), title: TitleNotArchive, says: "gzip"},
		{name: "zstd of text", data: zst(t, []byte(text)), title: TitleNotArchive, says: "zstd"},
		{name: "gzip of nothing", data: gz(t, nil), title: TitleEmpty, says: "empty"},
		{name: "split zip", data: []byte("PK\x07\x08PK\x03\x04..........................."), title: TitleMultiPart, says: "part"},

		{name: "zip cut off", data: cut(whole, 30), title: TitleTruncated, says: "cut off"},
		{name: "zip cut in half", data: cut(whole, len(whole)/2), title: TitleTruncated, says: "cut off"},
		{name: "tar cut off", data: cut(wholeTar, 2000), title: TitleTruncated, says: "cut off"},
		{name: "tar cut between entries", data: cut(wholeTar, len(wholeTar)/2-512), title: TitleTruncated, says: "cut off"},
		{name: "tar.gz cut off", data: cut(gz(t, wholeTar), 20), title: TitleTruncated, says: "cut off"},
		{name: "tar.gz cut in the checksum", data: cut(gz(t, wholeTar), 3), title: TitleTruncated, says: "cut off"},
		{name: "tar.zst cut off", data: cut(zst(t, wholeTar), 5), title: TitleTruncated, says: "cut off"},
		{name: "zip damaged", data: flipped, title: TitleCorrupt, says: `"a"`},
		{name: "tar.gz damaged", data: flippedGz, title: TitleCorrupt, says: "damaged"},
		{name: "tar.gz wrong checksum", data: badSum, title: TitleCorrupt, says: "damaged"},
		{name: "tar damaged header", data: badTar, title: TitleCorrupt, says: "damaged"},
		{name: "tar with a second tar behind it", data: append(bytes.Clone(wholeTar), wholeTar...), title: TitleTrailingData, says: "after its end"},
		{name: "zstd window", data: zeros.Bytes(), title: TitleWindow, says: "128M"},

		{name: "zip encrypted", data: bent(func(i int, l, c []byte) { l[6] |= 1; c[8] |= 1 }), title: TitleEncrypted, says: `"a"`},
		{name: "zip encrypted says the local header only", data: bent(func(i int, l, c []byte) { l[6] |= byte(i) }), title: TitleEncrypted, says: `"b"`},
		{name: "zip unknown method", data: bent(func(i int, l, c []byte) { l[8], c[10] = 99, 99 }), title: TitleUnsupportedMethod, says: "99"},
		{name: "zip method differs", data: bent(func(i int, l, c []byte) { l[8] = 8 }), title: TitleHeaderMismatch, says: "compression"},
		{name: "zip size differs", data: bent(func(i int, l, c []byte) { le.PutUint32(l[22:], 5) }), title: TitleHeaderMismatch, says: "size"},
		{name: "zip checksum differs", data: bent(func(i int, l, c []byte) { le.PutUint32(l[14:], 5) }), title: TitleHeaderMismatch, says: "checksum"},
		{name: "zip name differs", data: swapName(rawZip(two, nil)), title: TitleHeaderMismatch, says: "name"},
		{name: "zip place is wrong", data: bent(func(i int, l, c []byte) { le.PutUint32(c[42:], 3) }), title: TitleHeaderMismatch, says: "place"},
		{name: "zip place is far off", data: bent(func(i int, l, c []byte) { le.PutUint32(c[42:], 1<<30) }), title: TitleHeaderMismatch, says: "place"},
		{name: "zip entries share data", data: bent(func(i int, l, c []byte) { le.PutUint32(c[42:], 0) }), title: TitleOverlap, says: "overlap"},
		{name: "zip entry reaches into the next", data: bent(func(i int, l, c []byte) {
			le.PutUint32(l[18:], 40)
			le.PutUint32(l[22:], 40)
			le.PutUint32(c[20:], 40)
			le.PutUint32(c[24:], 40)
		}), title: TitleOverlap, says: `"a"`},
		{name: "zip stored with two sizes", data: bent(func(i int, l, c []byte) { le.PutUint32(l[22:], 9); le.PutUint32(c[24:], 9) }), title: TitleSizeMismatch, says: `"a"`},
		{name: "zip inflates to less", data: lieAboutSize(zipOf(t, file("a", text)), 1), title: TitleSizeMismatch, says: `"a"`},
		{name: "zip inflates to more", data: lieAboutSize(zipOf(t, file("a", text)), -1), title: TitleSizeMismatch, says: `"a"`},
		{name: "zip directory with content", data: rawZip([]item{file("d/", "x")}, nil), title: TitleConflict, says: `"d/"`},
		{name: "zip link named like a directory", data: rawZip([]item{file("d/", "")}, func(_ int, _, c []byte) {
			le.PutUint32(c[38:], (unixLink|0o777)<<16)
		}), title: TitleConflict, says: `"d/"`},
		{name: "zip counts wrong", data: miscount(rawZip(two, nil), 1), title: TitleCorrupt, says: "damaged"},
		{name: "zip counts too many", data: miscount(rawZip(two, nil), 3), title: TitleCorrupt, says: "damaged"},

		{name: "too many entries", data: tarOf(t, file("a", ""), file("b", ""), file("c", ""), file("d", "")), title: TitleTooManyEntries, says: "3", opts: Options{Limits: Limits{Entries: 3}}},
		{name: "zip too many entries", data: zipOf(t, file("a", ""), file("b", ""), file("c", ""), file("d", "")), title: TitleTooManyEntries, says: "3", opts: Options{Limits: Limits{Entries: 3}}},
		{name: "too many implied directories", data: zipOf(t, file("a/b/c/d", "")), title: TitleTooManyEntries, says: "3", opts: Options{Limits: Limits{Entries: 3}}},
		{name: "zip too large", data: whole, title: TitleTooLarge, says: "100000 bytes", opts: Options{Limits: Limits{Bytes: 100_000}}},
		{name: "tar too large", data: wholeTar, title: TitleTooLarge, says: "100000 bytes", opts: Options{Limits: Limits{Bytes: 100_000}}},
		{name: "hard links too large", data: tarOf(t, file("a", text), hardlink("b", "a")), title: TitleTooLarge, says: "100001 bytes", opts: Options{Limits: Limits{Bytes: 100_001}}},
	}
}

// swapName gives the first entry another name in the directory.
func swapName(b []byte) []byte {
	i := bytes.LastIndex(b, []byte("a"+"PK\x01\x02"))
	b[i] = 'z'
	return b
}

// miscount changes the number of entries in the end record.
func miscount(b []byte, n uint16) []byte {
	end := b[len(b)-lenEnd:]
	binary.LittleEndian.PutUint16(end[8:], n)
	binary.LittleEndian.PutUint16(end[10:], n)
	return b
}

// lieAboutSize adds delta to the size of the only entry, which has a data
// descriptor; in directory and descriptor alike.
func lieAboutSize(b []byte, delta int) []byte {
	c := bytes.LastIndex(b, []byte("PK\x01\x02"))
	d := bytes.LastIndex(b, []byte("PK\x07\x08"))
	for _, at := range []int{c + 24, d + 12} {
		n := int(binary.LittleEndian.Uint32(b[at:]))
		binary.LittleEndian.PutUint32(b[at:], uint32(n+delta))
	}
	return b
}

// snapshot lists everything below dir with its content.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		v := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			v += " " + string(b)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			v += " -> " + target
		}
		got[rel] = v
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// sandbox is a directory with things in it that nothing may touch, and an
// empty one to unpack into.
func sandbox(t testing.TB) (outside, dst string) {
	t.Helper()
	outside = t.TempDir()
	for name, body := range map[string]string{"evil": "mine", "etc/passwd": "root", "x": "x"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(outside, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(outside, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dst = filepath.Join(outside, "in", "dst")
	if err := os.MkdirAll(dst, 0o755); err != nil {
		t.Fatal(err)
	}
	return outside, dst
}

func unpack(t testing.TB, data []byte, dst string, o Options) (Stats, error) {
	t.Helper()
	root, err := os.OpenRoot(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	return Unpack(t.Context(), bytes.NewReader(data), int64(len(data)), root, o)
}

func TestUnpack_RefusesHostileArchivesEachWithItsOwnError(t *testing.T) {
	messages := map[string]string{} // title → test that has it
	for _, h := range hostileList(t) {
		t.Run(h.name, func(t *testing.T) {
			outside, dst := sandbox(t)
			before := snapshot(t, outside)
			_, err := unpack(t, h.data, dst, h.opts)
			e, ok := errors.AsType[*platform.Error](err)
			if !ok {
				t.Fatalf("got %v, want an error titled %s", err, h.title)
			}
			t.Logf("%s: %s (hint: %s)", e.Title, e.Msg, e.Hint)
			if e.Title != h.title {
				t.Errorf("title = %s, want %s (%v)", e.Title, h.title, err)
			}
			if !strings.Contains(e.Msg, h.says) {
				t.Errorf("message %q does not say %s", e.Msg, h.says)
			}
			if e.Hint == "" || (e.Kind != platform.KindInvalid && e.Kind != platform.KindTooLarge) {
				t.Errorf("kind %q, hint %q: want something a person can act on", e.Kind, e.Hint)
			}
			messages[e.Title] = h.name
			if err := os.RemoveAll(dst); err != nil {
				t.Fatal(err)
			}
			after := snapshot(t, outside)
			delete(before, "in/dst")
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("changed outside the directory:\n%s", diff)
			}
		})
	}
	if len(messages) < 30 {
		t.Errorf("only %d different titles: %v", len(messages), messages)
	}
}
