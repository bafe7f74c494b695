package source_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
	"weir/internal/source"
)

// write makes files under dir; a name ending in "/" is a directory.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func sum(text string) string {
	h := sha1.Sum([]byte(text))
	return hex.EncodeToString(h[:])
}

func paths(tree *source.Tree) (names []string) {
	for _, f := range tree.Files {
		names = append(names, f.Path)
	}
	return names
}

// quietCache keeps the index out of the caller's own cache.
func quietCache(t *testing.T) string {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	return dir
}

func TestWalk_ListsFilesWithModesAndDigests(t *testing.T) {
	quietCache(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.txt": "alpha", "bin/run": "#!/bin/sh\n", "empty": "", "hollow/": ""})
	if err := os.Chmod(filepath.Join(dir, "bin/run"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a.txt", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	tree, err := source.Walk(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []source.File{
		{Path: "a.txt", Mode: 0o644, Size: 5, SHA1: sum("alpha")},
		{Path: "bin", Mode: fs.ModeDir | 0o755},
		{Path: "bin/run", Mode: 0o755, Size: 10, SHA1: sum("#!/bin/sh\n")},
		{Path: "empty", Mode: 0o644},
		{Path: "hollow", Mode: fs.ModeDir | 0o755},
		{Path: "link", Mode: fs.ModeSymlink | 0o777, Link: "a.txt"},
	}
	if d := cmp.Diff(want, tree.Files); d != "" {
		t.Error(d)
	}
}

func TestWalk_FollowsTheIgnoreFiles(t *testing.T) {
	quietCache(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{
		".cfignore":               "\ufeff# comment\r\n*.log\r\n/tmp\r\nnode_modules/\n!keep.log\n\\#odd\nsub/**/secret\n",
		".weirignore":             "keep.log\n!manifest.yml\n",
		"a.log":                   "x",
		"keep.log":                "x",
		"manifest.yml":            "x",
		"manifest.yaml":           "x",
		"tmp/x":                   "x",
		"sub/tmp/x":               "x",
		"sub/a/b/secret":          "x",
		"#odd":                    "x",
		"node_modules/a/index.js": "x",
		"web/node_modules/b":      "x",
		".git/HEAD":               "x",
		".gitignore":              "main.go",
		".DS_Store":               "x",
		"main.go":                 "x",
	})
	tree, err := source.Walk(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"main.go", "manifest.yml", "sub", "sub/a", "sub/a/b", "sub/tmp", "sub/tmp/x", "web"}
	if d := cmp.Diff(want, paths(tree)); d != "" {
		t.Error(d)
	}
}

func TestWalk_ReadsAnUnchangedFileOnlyOnce(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything, so that a skipped read does not show")
	}
	checkIndex(t, func(path string) { os.Chmod(path, 0) })
}

// A changed byte with the same size, times and inode cannot happen by accident
// (the change time moves); forging the index is the only way to see it used.
func TestWalk_TakesDigestsFromTheIndex(t *testing.T) {
	cache := quietCache(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "alpha"})
	waitSettled(t, filepath.Join(dir, "a"))
	if _, err := source.Walk(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(cache, "weir/index/*"))
	if len(files) != 1 {
		t.Fatalf("index files: %v", files)
	}
	text, _ := os.ReadFile(files[0])
	forged := strings.Repeat("f", 40)
	os.WriteFile(files[0], bytes.ReplaceAll(text, []byte(sum("alpha")), []byte(forged)), 0o600)
	tree, err := source.Walk(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := tree.Files[0].SHA1; got != forged {
		t.Errorf("digest %s was computed again", got)
	}
	// Rewriting the file with the same size must be noticed.
	write(t, dir, map[string]string{"a": "ALPHA"})
	if tree, err = source.Walk(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if got := tree.Files[0].SHA1; got != sum("ALPHA") {
		t.Errorf("changed file has digest %s, want %s", got, sum("ALPHA"))
	}
	// A damaged index costs time only.
	os.WriteFile(files[0], []byte("weir-index 1\nnonsense\x00"), 0o600)
	if tree, err = source.Walk(t.Context(), dir); err != nil || tree.Files[0].SHA1 != sum("ALPHA") {
		t.Errorf("with a damaged index: %v, %v", tree, err)
	}
}

func checkIndex(t *testing.T, spoil func(path string)) {
	quietCache(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "alpha"})
	path := filepath.Join(dir, "a")
	waitSettled(t, path)
	first, err := source.Walk(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = first
	spoil(path) // moves the change time, so the next walk must read and fail
	if _, err := source.Walk(t.Context(), dir); err == nil {
		t.Error("a file whose change time moved was not read again")
	}
}

// waitSettled makes the file's times old enough for the index. The change
// time cannot be set, so this has to wait for it.
func waitSettled(t *testing.T, path string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2100 * time.Millisecond) // the settling time itself
}

func TestWalk_NamesWhatCannotBePushed(t *testing.T) {
	quietCache(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"ok": "x"})
	if err := os.WriteFile(filepath.Join(dir, "bad\xff"), nil, 0o644); err != nil {
		t.Skip("this file system refuses such names:", err)
	}
	_, err := source.Walk(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), `"bad\xff" is not valid UTF-8`) {
		t.Errorf("got %v", err)
	}
}

func TestWalk_SaysWhatToDoAboutAFileItMayNotRead(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	quietCache(t)
	for _, name := range []string{"private", "dir"} {
		dir := t.TempDir()
		write(t, dir, map[string]string{"private": "x", "dir/f": "x"})
		os.Chmod(filepath.Join(dir, name), 0)
		_, err := source.Walk(t.Context(), dir)
		os.Chmod(filepath.Join(dir, name), 0o755)
		e, ok := errors.AsType[*platform.Error](err)
		if !ok || e.Msg != strconv.Quote(name)+" cannot be read: permission denied" || !strings.Contains(e.Hint, ".cfignore") {
			t.Errorf("%s: got %v", name, err)
		}
		write(t, dir, map[string]string{".cfignore": name})
		os.Chmod(filepath.Join(dir, name), 0)
		_, err = source.Walk(t.Context(), dir)
		os.Chmod(filepath.Join(dir, name), 0o755)
		if err != nil {
			t.Errorf("%s is not part of the app, but: %v", name, err)
		}
	}
}

func TestWalk_RefusesLinksOutOfTheAppAndTakesLoops(t *testing.T) {
	quietCache(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"a/f": "x"})
	for name, to := range map[string]string{"self": ".", "one": "two", "two": "one", "a/up": "../a", "none": "nothing"} {
		os.Symlink(to, filepath.Join(dir, name))
	}
	if _, err := source.Walk(t.Context(), dir); err != nil {
		t.Error(err)
	}
	for _, to := range []string{"/etc/passwd", "../elsewhere", "a/up/../.."} {
		os.Symlink(to, filepath.Join(dir, "out"))
		_, err := source.Walk(t.Context(), dir)
		if e, ok := errors.AsType[*platform.Error](err); !ok || !strings.Contains(e.Msg, `"out"`) || e.Hint == "" {
			t.Errorf("a link to %s: got %v", to, err)
		}
		os.Remove(filepath.Join(dir, "out"))
	}
}

func TestWalk_RefusesAFileAndAMissingDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"f": "x"})
	for _, path := range []string{filepath.Join(dir, "f"), filepath.Join(dir, "none")} {
		if _, err := source.Walk(t.Context(), path); err == nil {
			t.Errorf("Walk(%s) succeeded", path)
		}
	}
}

func TestWalk_StopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"f": "x"})
	if _, err := source.Walk(ctx, dir); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestTree_WriteZipKeepsModesLinksAndEmptyFiles(t *testing.T) {
	quietCache(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.txt": strings.Repeat("alpha", 1000), "bin/run": "#!", "empty": "", "hollow/": "", "pooled": "server has it"})
	os.Chmod(filepath.Join(dir, "bin/run"), 0o755)
	os.Symlink("../a.txt", filepath.Join(dir, "bin/link"))
	tree, err := source.Walk(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	var done int64
	err = tree.WriteZip(t.Context(), &buf, func(f source.File) bool { return f.Path != "pooled" }, func(n int64) { done += n })
	if err != nil {
		t.Fatal(err)
	}
	if done != 5002 {
		t.Errorf("reported %d bytes", done)
	}
	z, err := zip.NewReader(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range z.File {
		r, _ := f.Open()
		text, _ := io.ReadAll(r)
		got = append(got, fmt.Sprintf("%s %o %d %.10s", f.Name, f.ExternalAttrs>>16, len(text), text))
	}
	want := []string{
		"a.txt 100644 5000 alphaalpha", "bin/ 40755 0 ", "bin/link 120777 8 ../a.txt",
		"bin/run 100755 2 #!", "empty 100644 0 ", "hollow/ 40755 0 ",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var again bytes.Buffer
	if err := tree.WriteZip(t.Context(), &again, func(f source.File) bool { return f.Path != "pooled" }, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf.Bytes(), again.Bytes()) {
		t.Error("the same files gave another zip")
	}
}

func TestTree_WriteZipNoticesAFileThatChanged(t *testing.T) {
	quietCache(t)
	for name, text := range map[string]string{"grown": "alphabet", "shrunk": "al"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"a": "alpha"})
			tree, err := source.Walk(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, map[string]string{"a": text})
			err = tree.WriteZip(t.Context(), io.Discard, nil, nil)
			if err == nil || !strings.Contains(err.Error(), "changed while it was read") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzIgnore(f *testing.F) {
	f.Add("*.log\n!keep.log\n/tmp/\n", "a/b.log")
	f.Add("a/**/b\n[!a]\n\\#x\n***\n", "a/b")
	f.Add("[\n\\\n!\n/\n", "x")
	f.Fuzz(func(t *testing.T, rules, path string) {
		source.NewIgnore(rules).Match(path, false)
		source.NewIgnore(rules).Match(path, true)
	})
}

func BenchmarkWalk_Unchanged10kFiles(b *testing.B) {
	b.Setenv("XDG_CACHE_HOME", b.TempDir())
	dir := b.TempDir()
	for i := range 100 {
		sub := filepath.Join(dir, fmt.Sprint("d", i))
		os.Mkdir(sub, 0o755)
		for j := range 100 {
			os.WriteFile(filepath.Join(sub, fmt.Sprint("f", j)), fmt.Appendf(nil, "%d %d", i, j), 0o644)
		}
	}
	time.Sleep(2100 * time.Millisecond) // until the index trusts the files' times
	if _, err := source.Walk(b.Context(), dir); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := source.Walk(b.Context(), dir); err != nil {
			b.Fatal(err)
		}
	}
}
