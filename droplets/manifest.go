package droplets

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"weir/internal/platform"
)

// File is one entry of a manifest.
type File struct {
	Path string
	// Mode holds fs.ModeDir, fs.ModeSymlink or no type bit, and 0755 or 0644.
	Mode fs.FileMode
	Size int64
	// SHA1 is known for files of packages only.
	SHA1, SHA256 string
	Link         string // target of a symbolic link

	mtime int64 // ns; lets Check pass over files nobody touched
}

// Buildpack is one that took part in a build, as far as it decides the digest.
type Buildpack struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Digest  string `json:"digest,omitempty"`
}

// CommitInfo is what belongs to a droplet besides its files.
type CommitInfo struct {
	ProcessTypes map[string]string // type → start command
	Stack        string
	Buildpacks   []Buildpack // in the order they ran
	// Toolchains are absolute paths, of files or directories, that symbolic
	// links of the tree may lead to. They are no part of the digest.
	Toolchains []string
}

// Manifest says what a tree consists of.
type Manifest struct {
	Digest string
	Size   int64  // of all regular files
	Files  []File // sorted by path; directories and links too
	Info   CommitInfo
	// Dropped names sockets, FIFOs and devices that a build left behind and
	// Commit removed. Only Commit fills it in.
	Dropped []string
}

// seal sorts the files, adds up their sizes and computes the digest.
func (m *Manifest) seal(a area) {
	slices.SortFunc(m.Files, func(x, y File) int { return strings.Compare(x.Path, y.Path) })
	m.Size = 0
	for i := range m.Files {
		m.Size += m.Files[i].Size
	}
	m.Digest = m.canonicalDigest(a)
}

// canonicalDigest is the SHA-256 of the canonical form: one line for each
// entry, sorted by path, then what else belongs to a droplet. Strings have
// their length in front, so that no name can pass for something else:
//
//	weir trees 1
//	d 3:app
//	f 755 12 <sha256> 7:app/run
//	l 8:app/link 3:run
//	p 3:web 5:./run
//	s 5:host1
//	b 2:go 5:1.0.0 64:<digest>
func (m *Manifest) canonicalDigest(a area) string {
	h := sha256.New()
	w := bufio.NewWriterSize(h, 64<<10)
	str := func(parts ...string) {
		for _, p := range parts {
			w.WriteByte(' ')
			w.WriteString(strconv.Itoa(len(p)))
			w.WriteByte(':')
			w.WriteString(p)
		}
		w.WriteByte('\n')
	}
	fmt.Fprintf(w, "weir %s 1\n", a)
	for i := range m.Files {
		f := &m.Files[i]
		switch {
		case f.Mode.IsDir():
			w.WriteByte('d')
			str(f.Path)
		case f.Mode&fs.ModeSymlink != 0:
			w.WriteByte('l')
			str(f.Path, f.Link)
		default:
			fmt.Fprintf(w, "f %o %d %s", f.Mode.Perm(), f.Size, f.SHA256)
			str(f.Path)
		}
	}
	if a == trees {
		for _, typ := range slices.Sorted(maps.Keys(m.Info.ProcessTypes)) {
			w.WriteByte('p')
			str(typ, m.Info.ProcessTypes[typ])
		}
		w.WriteByte('s')
		str(m.Info.Stack)
		for _, b := range m.Info.Buildpacks {
			w.WriteByte('b')
			str(b.Name, b.Version, b.Digest)
		}
	}
	w.Flush() // a hash takes everything
	return hex.EncodeToString(h.Sum(nil))
}

// manifestFile is a manifest on disk.
type manifestFile struct {
	Format       int               `json:"format"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ProcessTypes map[string]string `json:"process_types,omitempty"`
	Stack        string            `json:"stack,omitempty"`
	Buildpacks   []Buildpack       `json:"buildpacks,omitempty"`
	Toolchains   []string          `json:"toolchains,omitempty"`
	Files        []fileEntry       `json:"files"`
}

// fileEntry is a File on disk. JSON holds text only, so what is no text goes
// in base64.
type fileEntry struct {
	Path    string `json:"path,omitempty"`
	RawPath []byte `json:"path_base64,omitempty"`
	Type    string `json:"type"` // file, exec, dir or link
	Size    int64  `json:"size,omitempty"`
	SHA1    string `json:"sha1,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Link    string `json:"link,omitempty"`
	RawLink []byte `json:"link_base64,omitempty"`
	MTime   int64  `json:"mtime_ns,omitempty"`
}

const manifestFormat = 1

func entryOf(f *File) fileEntry {
	e := fileEntry{Type: "file", Size: f.Size, SHA1: f.SHA1, SHA256: f.SHA256, MTime: f.mtime}
	switch {
	case f.Mode.IsDir():
		e.Type = "dir"
	case f.Mode&fs.ModeSymlink != 0:
		e.Type = "link"
	case f.Mode&0o111 != 0:
		e.Type = "exec"
	}
	e.Path, e.RawPath = textOrRaw(f.Path)
	e.Link, e.RawLink = textOrRaw(f.Link)
	return e
}

func textOrRaw(s string) (string, []byte) {
	if utf8.ValidString(s) {
		return s, nil
	}
	return "", []byte(s)
}

func (e *fileEntry) file() (File, error) {
	f := File{Path: e.Path + string(e.RawPath), Size: e.Size, SHA1: e.SHA1, SHA256: e.SHA256, Link: e.Link + string(e.RawLink), mtime: e.MTime}
	switch e.Type {
	case "file":
		f.Mode = 0o644
	case "exec":
		f.Mode = 0o755
	case "dir":
		f.Mode = fs.ModeDir | 0o755
	case "link":
		f.Mode = fs.ModeSymlink | 0o777
	default:
		return f, fmt.Errorf("entry %q has the unknown type %q", f.Path, e.Type)
	}
	return f, nil
}

// write puts the manifest into the file name, which must not exist. Nothing is
// synced.
func (m *Manifest) write(name string) error {
	doc := manifestFile{
		Format: manifestFormat, Digest: m.Digest, Size: m.Size,
		ProcessTypes: m.Info.ProcessTypes, Stack: m.Info.Stack,
		Buildpacks: m.Info.Buildpacks, Toolchains: m.Info.Toolchains,
		Files: make([]fileEntry, len(m.Files)),
	}
	for i := range m.Files {
		doc.Files[i] = entryOf(&m.Files[i])
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}

// readManifest reads the manifest of a tree and makes sure that it is the one
// the digest stands for.
func (s *Store) readManifest(ctx context.Context, a area, digest string) (Manifest, error) {
	if err := ctx.Err(); err != nil {
		return Manifest{}, err
	}
	if !isDigest(digest) {
		return Manifest{}, a.notFound()
	}
	b, err := os.ReadFile(s.manifestPath(a, digest))
	if errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, a.notFound()
	}
	if err != nil {
		return Manifest{}, err
	}
	var doc manifestFile
	if err := json.Unmarshal(b, &doc); err != nil {
		return Manifest{}, corrupt(a, digest, "its manifest cannot be read", err)
	}
	if doc.Format != manifestFormat {
		return Manifest{}, corrupt(a, digest, fmt.Sprintf("its manifest has the unknown format %d", doc.Format), nil)
	}
	m := Manifest{Files: make([]File, len(doc.Files)), Info: CommitInfo{
		ProcessTypes: doc.ProcessTypes, Stack: doc.Stack, Buildpacks: doc.Buildpacks, Toolchains: doc.Toolchains,
	}}
	for i := range doc.Files {
		if m.Files[i], err = doc.Files[i].file(); err != nil {
			return Manifest{}, corrupt(a, digest, "its manifest cannot be read", err)
		}
	}
	m.seal(a)
	if m.Digest != digest {
		return Manifest{}, corrupt(a, digest, "its manifest was changed", nil)
	}
	return m, nil
}

// TitleCorrupt is the title of the error for a droplet whose files are not
// what was committed.
const TitleCorrupt = "DropletCorrupt"

func corrupt(a area, digest, why string, cause error) *platform.Error {
	e := &platform.Error{
		Kind:  platform.KindInternal,
		Title: TitleCorrupt,
		Msg:   fmt.Sprintf("the files of %s %.12s on the server are damaged: %s", a.noun(), digest, why),
		Hint:  "stage the app again: weir restage <app>",
		Err:   cause,
	}
	if a == packages {
		e.Hint = "push the app again"
	}
	return e
}

func isDigest(s string) bool { return isHex(s, 64) }

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
