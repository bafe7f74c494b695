package source

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"weir/droplets/archive"
	"weir/internal/platform"
)

// Walk lists the files of the app in dir, leaving out what the ignore rules
// say. The SHA-1 of a file that did not change since the last Walk comes from
// an index in the user's cache directory, so that a large unchanged app costs
// one stat per file.
func Walk(ctx context.Context, dir string) (*Tree, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		return nil, err
	}
	rules, err := dirRules(root)
	if err != nil {
		return nil, err
	}
	t := &Tree{open: func(f File) (io.ReadCloser, error) {
		return os.Open(filepath.Join(root, filepath.FromSlash(f.Path)))
	}}
	infos, err := t.list(ctx, root, rules)
	if err == nil {
		err = t.checkLinks()
	}
	if err != nil {
		return nil, err
	}
	cache := loadIndex(root)
	if err := t.sum(ctx, root, infos, cache); err != nil {
		return nil, err
	}
	cache.save()
	return t, nil
}

func dirRules(root string) (Ignore, error) {
	var texts []string
	for _, name := range ignoreFiles {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err == nil {
			texts = append(texts, string(text))
		} else if !os.IsNotExist(err) {
			return Ignore{}, err
		}
	}
	return NewIgnore(texts...), nil
}

// list fills t.Files without digests and returns what stat said of each.
func (t *Tree) list(ctx context.Context, root string, rules Ignore) ([]fs.FileInfo, error) {
	var infos []fs.FileInfo
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel := filepath.ToSlash(strings.TrimPrefix(path[len(root):], string(filepath.Separator)))
		if err != nil {
			return unreadable(rel, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if path == root {
			if !d.IsDir() {
				return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("not a directory")}
			}
			return nil
		}
		if rules.Match(rel, d.IsDir()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !utf8.ValidString(rel) {
			return &platform.Error{
				Kind: platform.KindInvalid,
				Msg:  fmt.Sprintf("the name of file %q is not valid UTF-8", rel),
				Hint: "rename it or list it in .cfignore",
			}
		}
		f, info, err := describe(path, rel, d)
		if err != nil {
			return unreadable(rel, err)
		}
		if info == nil {
			t.Skipped = append(t.Skipped, rel)
			return nil
		}
		t.Files = append(t.Files, f)
		infos = append(infos, info)
		return nil
	})
	return infos, err
}

// describe returns the File for one directory entry, or no info for one that
// cannot be part of an app.
func describe(path, rel string, d fs.DirEntry) (File, fs.FileInfo, error) {
	info, err := d.Info()
	if err != nil {
		return File{}, nil, err
	}
	f := File{Path: rel, Mode: info.Mode() & (fs.ModeType | fs.ModePerm)}
	switch {
	case f.Mode.IsRegular():
		f.Size = info.Size()
	case f.Mode.IsDir():
	case f.Mode&fs.ModeSymlink != 0:
		f.Mode |= fs.ModePerm
		if f.Link, err = os.Readlink(path); err != nil {
			return File{}, nil, err
		}
		f.Link = filepath.ToSlash(f.Link)
	default:
		return File{}, nil, nil
	}
	return f, info, nil
}

// sum fills in the digests, from the index where a file did not change.
func (t *Tree) sum(ctx context.Context, root string, infos []fs.FileInfo, cache *index) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, runtime.NumCPU()))
	for i, info := range infos {
		f := &t.Files[i]
		if !f.IsRegular() || f.Size == 0 {
			continue
		}
		key := statKey(f.Path, info)
		if f.SHA1 = cache.get(key); f.SHA1 != "" {
			continue
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			started := time.Now()
			sum, size, err := sumFile(filepath.Join(root, filepath.FromSlash(f.Path)))
			if err != nil {
				return unreadable(f.Path, err)
			}
			if size != f.Size {
				return changedMeanwhile(f.Path)
			}
			f.SHA1 = sum
			// A file changed a moment ago may change again without a new
			// time stamp: remember it only once its times have settled.
			if settled(info, started) {
				cache.put(key, sum)
			}
			return nil
		})
	}
	return g.Wait()
}

// unreadable makes of what the system said about a file of the app, or about
// the app's directory if rel is empty, what the person who pushes can do.
func unreadable(rel string, err error) error {
	switch {
	case rel == "":
		return err
	case errors.Is(err, fs.ErrPermission):
		return &platform.Error{
			Kind: platform.KindInvalid,
			Msg:  fmt.Sprintf("%q cannot be read: permission denied", rel),
			Hint: "make it readable, or list it in .cfignore",
		}
	case errors.Is(err, fs.ErrNotExist):
		return changedMeanwhile(rel)
	}
	return err
}

// checkLinks refuses links that the server would refuse, before anything is
// sent there.
func (t *Tree) checkLinks() error {
	links := archive.Links{}
	for _, f := range t.Files {
		if f.Link != "" {
			links[f.Path] = f.Link
		}
	}
	return links.Check(nil)
}

func changedMeanwhile(path string) error {
	return &platform.Error{
		Kind: platform.KindConflict,
		Msg:  fmt.Sprintf("%s changed while it was read", path),
		Hint: "push again once nothing writes to it, or list it in .cfignore",
	}
}

func sumFile(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha1.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), n, nil
}

func sumReader(r io.Reader) (string, error) {
	h := sha1.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
