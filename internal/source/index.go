package source

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// index remembers the SHA-1 of files by a key that changes when their content
// may have changed. It lives in one text file per app directory:
//
//	weir-index 1
//	<sha1> <key>
//	…
//
// It is a cache: a missing, damaged or unwritable file costs time, no more.
type index struct {
	path string // "" keeps nothing

	mu   sync.Mutex // guards the maps
	old  map[string]string
	used map[string]string // what the next save writes: only keys still in use
	news bool
}

const indexHeader = "weir-index 1"

// loadIndex reads the index with the given name.
func loadIndex(name string) *index {
	x := &index{old: map[string]string{}, used: map[string]string{}}
	dir, err := os.UserCacheDir()
	if err != nil {
		return x
	}
	sum := sha256.Sum256([]byte(name))
	x.path = filepath.Join(dir, "weir", "index", hex.EncodeToString(sum[:12]))
	f, err := os.Open(x.path)
	if err != nil {
		return x
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<10)
	if !lines.Scan() || lines.Text() != indexHeader {
		return x
	}
	for lines.Scan() {
		if sum, key, ok := strings.Cut(lines.Text(), " "); ok && len(sum) == 40 {
			x.old[key] = sum
		}
	}
	return x
}

func (x *index) get(key string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	sum := x.old[key]
	if sum != "" {
		x.used[key] = sum
	}
	return sum
}

func (x *index) put(key, sum string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.used[key] = sum
	x.news = true
}

// save writes the keys used since loadIndex, if they differ from the file's.
func (x *index) save() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.path == "" || !x.news && len(x.used) == len(x.old) {
		return
	}
	if err := os.MkdirAll(filepath.Dir(x.path), 0o700); err != nil {
		return
	}
	tmp, err := os.CreateTemp(filepath.Dir(x.path), ".new-*")
	if err != nil {
		return
	}
	defer os.Remove(tmp.Name()) // does nothing after the rename
	w := bufio.NewWriter(tmp)
	w.WriteString(indexHeader + "\n")
	for _, key := range slices.Sorted(maps.Keys(x.used)) {
		w.WriteString(x.used[key] + " " + key + "\n")
	}
	err = w.Flush()
	if closing := tmp.Close(); err != nil || closing != nil {
		return
	}
	_ = os.Rename(tmp.Name(), x.path)
}

// statKey names a file's content as far as stat can tell.
func statKey(path string, info fs.FileInfo) string {
	inode, ctime := identity(info)
	b := make([]byte, 0, 64+len(path))
	b = strconv.AppendUint(b, inode, 36)
	b = append(b, ' ')
	b = strconv.AppendInt(b, ctime, 36)
	b = append(b, ' ')
	b = strconv.AppendInt(b, info.ModTime().UnixNano(), 36)
	b = append(b, ' ')
	b = strconv.AppendInt(b, info.Size(), 36)
	b = append(b, ' ')
	return string(strconv.AppendQuote(b, path))
}

// settled reports whether the file's times lay far enough before now that any
// later change must show in them.
func settled(info fs.FileInfo, now time.Time) bool {
	_, ctime := identity(info)
	newest := max(ctime, info.ModTime().UnixNano())
	return now.UnixNano()-newest > int64(2*time.Second)
}
