package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"weir/internal/platform"
)

// resolve returns the full hash of the commit that ref names in the local
// repository dir lies in: a branch, a tag, a commit, or an expression such as
// HEAD~2.
func resolve(repo *git.Repository, dir, ref string) (string, error) {
	if ref == "" {
		ref = "HEAD"
	}
	commit, err := peel(repo, ref)
	if err == nil {
		return commit, nil
	}
	e := &platform.Error{
		Kind: platform.KindNotFound,
		Msg:  fmt.Sprintf("the repository of %s has no branch, tag or commit %q", dir, ref),
		Err:  err,
	}
	if names := localRefs(repo); len(names) > 0 {
		e.Hint = "it has " + strings.Join(names[:min(len(names), 8)], ", ")
	} else {
		e.Hint = "it has no commit yet: git commit"
	}
	return "", e
}

func localRefs(repo *git.Repository) (names []string) {
	iter, err := repo.References()
	if err != nil {
		return nil
	}
	var refs []*plumbing.Reference
	_ = iter.ForEach(func(r *plumbing.Reference) error { refs = append(refs, r); return nil })
	return refNames(refs)
}

// openRepository opens the repository that dir lies in and returns the path
// of dir inside it ("" for its root).
func openRepository(dir string) (*git.Repository, string, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, "", err
	}
	repo, err := git.PlainOpenWithOptions(abs, &git.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	if errors.Is(err, git.ErrRepositoryNotExists) {
		repo, err = git.PlainOpen(abs) // a bare one
	}
	if err != nil {
		return nil, "", &platform.Error{
			Kind: platform.KindInvalid,
			Msg:  fmt.Sprintf("%s is not in a git repository", dir),
			Hint: "leave --ref out to push the directory as it is",
			Err:  err,
		}
	}
	tree, err := repo.Worktree()
	if err != nil { // bare
		return repo, "", nil
	}
	root, err := filepath.EvalSymlinks(tree.Filesystem.Root())
	if err != nil {
		return nil, "", err
	}
	sub, err := filepath.Rel(root, abs)
	if err != nil {
		return nil, "", err
	}
	if sub == "." {
		sub = ""
	}
	return repo, filepath.ToSlash(sub), nil
}

// Commit lists the files that a commit holds under dir, read from the object
// store of the local repository dir lies in: what the working tree holds does
// not matter. dir is the app's root, perhaps a sub-directory of the
// repository. Ignore files count as they are in the commit.
func Commit(ctx context.Context, dir, ref string) (*Tree, error) {
	repo, root, hash, err := openCommit(dir, ref)
	if err != nil {
		return nil, err
	}
	w := treeWalk{repo: repo, blobs: map[string]plumbing.Hash{}, tree: &Tree{Commit: hash}, cache: loadIndex("git " + absolute(dir))}
	w.rules, err = commitRules(root)
	if err != nil {
		return nil, err
	}
	if err := w.walk(ctx, root, ""); err != nil {
		return nil, err
	}
	if err := w.tree.checkLinks(); err != nil {
		return nil, err
	}
	w.cache.save()
	w.tree.open = w.open
	return w.tree, nil
}

// openCommit opens the repository that dir lies in, and the directory of the
// commit that dir stands for.
func openCommit(dir, ref string) (repo *git.Repository, root *object.Tree, hash string, err error) {
	repo, sub, err := openRepository(dir)
	if err != nil {
		return nil, nil, "", err
	}
	if hash, err = resolve(repo, dir, ref); err != nil {
		return nil, nil, "", err
	}
	if root, err = commitTree(repo, hash); err != nil || sub == "" {
		return repo, root, hash, err
	}
	if root, err = root.Tree(sub); err != nil {
		err = &platform.Error{
			Kind: platform.KindNotFound,
			Msg:  fmt.Sprintf("commit %.12s has no directory %s", hash, sub), Err: err,
		}
	}
	return repo, root, hash, err
}

// CommitFile returns the content of one file of a commit, by its path below
// dir, the app's root in a local repository. A file that is not there is an
// fs.ErrNotExist.
func CommitFile(dir, ref, name string) ([]byte, error) {
	_, root, hash, err := openCommit(dir, ref)
	if err != nil {
		return nil, err
	}
	f, err := root.File(name)
	if errors.Is(err, object.ErrFileNotFound) {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s of commit %.12s: %w", name, hash, err)
	}
	text, err := f.Contents()
	return []byte(text), err
}

func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

func commitTree(repo *git.Repository, hash string) (*object.Tree, error) {
	commit, err := repo.CommitObject(plumbing.NewHash(hash))
	if err != nil {
		return nil, fmt.Errorf("reading commit %.12s: %w", hash, err)
	}
	tree, err := commit.Tree()
	if err != nil {
		return nil, fmt.Errorf("reading the tree of commit %.12s: %w", hash, err)
	}
	return tree, nil
}

func commitRules(root *object.Tree) (Ignore, error) {
	var texts []string
	for _, name := range ignoreFiles {
		f, err := root.File(name)
		if err != nil {
			continue // there is none
		}
		text, err := f.Contents()
		if err != nil {
			return Ignore{}, fmt.Errorf("reading %s of the commit: %w", name, err)
		}
		texts = append(texts, text)
	}
	return NewIgnore(texts...), nil
}

// sortedEntries returns the entries by name, as a directory walk does.
func sortedEntries(t *object.Tree) []object.TreeEntry {
	entries := slices.Clone(t.Entries)
	slices.SortFunc(entries, func(a, b object.TreeEntry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}

// treeWalk gathers the files of one commit.
type treeWalk struct {
	repo  *git.Repository
	rules Ignore
	tree  *Tree
	blobs map[string]plumbing.Hash // by path
	cache *index                   // SHA-1 of content by blob hash
}

func (w *treeWalk) walk(ctx context.Context, dir *object.Tree, prefix string) error {
	for _, e := range sortedEntries(dir) {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := prefix + e.Name
		if err := checkName(e.Name, path); err != nil {
			return err
		}
		if w.rules.Match(path, e.Mode == filemode.Dir) {
			continue
		}
		if e.Mode == filemode.Dir {
			w.tree.Files = append(w.tree.Files, File{Path: path, Mode: fs.ModeDir | 0o755})
			sub, err := object.GetTree(w.repo.Storer, e.Hash)
			if err != nil {
				return fmt.Errorf("reading directory %s of the commit: %w", path, err)
			}
			if err := w.walk(ctx, sub, path+"/"); err != nil {
				return err
			}
			continue
		}
		f, err := w.file(path, e)
		if err != nil {
			return err
		}
		w.blobs[path] = e.Hash
		w.tree.Files = append(w.tree.Files, f)
	}
	return nil
}

func (w *treeWalk) file(path string, e object.TreeEntry) (File, error) {
	mode, err := entryMode(path, e.Mode)
	if err != nil {
		return File{}, err
	}
	f := File{Path: path, Mode: mode}
	if mode&fs.ModeSymlink != 0 {
		f.Link, err = readLink(w.repo, e.Hash)
		return f, err
	}
	if f.Size, err = w.repo.Storer.EncodedObjectSize(e.Hash); err != nil {
		return File{}, fmt.Errorf("reading %s of the commit: %w", path, err)
	}
	if f.Size == 0 {
		return f, nil
	}
	key := e.Hash.String()
	if f.SHA1 = w.cache.get(key); f.SHA1 != "" {
		return f, nil
	}
	r, err := w.open(File{Path: path, Mode: mode, Link: key})
	if err != nil {
		return File{}, err
	}
	defer r.Close()
	head := &headReader{r: r}
	if f.SHA1, err = sumReader(head); err != nil {
		return File{}, fmt.Errorf("reading %s of the commit: %w", path, err)
	}
	if isLFSPointer(head.head) {
		return File{}, refuseLFS(path)
	}
	w.cache.put(key, f.SHA1)
	return f, nil
}

func (w *treeWalk) open(f File) (io.ReadCloser, error) {
	hash := w.blobs[f.Path]
	if hash.IsZero() {
		hash = plumbing.NewHash(f.Link)
	}
	blob, err := w.repo.BlobObject(hash)
	if err != nil {
		return nil, fmt.Errorf("reading %s of the commit: %w", f.Path, err)
	}
	return blob.Reader()
}

// entryMode turns git's mode into one of ours and refuses what has no content
// in this repository.
func entryMode(path string, m filemode.FileMode) (fs.FileMode, error) {
	switch m {
	case filemode.Regular, filemode.Deprecated:
		return 0o644, nil
	case filemode.Executable:
		return 0o755, nil
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777, nil
	case filemode.Submodule:
		return 0, &platform.Error{
			Kind: platform.KindInvalid,
			Msg:  fmt.Sprintf("%s is a git submodule, whose files are not in this repository", path),
			Hint: "check it out and push the directory: git submodule update --init && weir push -p DIR; or list it in .cfignore",
		}
	}
	return 0, platform.Invalidf("%s has the unknown git mode %s", path, m)
}

func readLink(repo *git.Repository, hash plumbing.Hash) (string, error) {
	blob, err := repo.BlobObject(hash)
	if err != nil {
		return "", err
	}
	r, err := blob.Reader()
	if err != nil {
		return "", err
	}
	defer r.Close()
	target, err := io.ReadAll(io.LimitReader(r, 4096))
	return string(target), err
}

// headReader keeps the first bytes that pass through it.
type headReader struct {
	r    io.Reader
	head []byte
}

func (h *headReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if room := len(lfsMagic) - len(h.head); room > 0 {
		h.head = append(h.head, p[:min(n, room)]...)
	}
	return n, err
}

const lfsMagic = "version https://git-lfs.github.com/spec/"

func isLFSPointer(head []byte) bool { return string(head) == lfsMagic }

func refuseLFS(path string) error {
	return &platform.Error{
		Kind: platform.KindInvalid,
		Msg:  fmt.Sprintf("%s is a Git LFS pointer; its content is not in the repository", path),
		Hint: "check it out and push the directory: git lfs pull && weir push -p DIR",
	}
}

// checkName refuses names that no checkout may make.
func checkName(name, path string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") || strings.EqualFold(name, ".git") {
		return platform.Invalidf("the commit holds a file with the illegal name %q", path)
	}
	return nil
}

// checkOut writes the files of a commit of the bare repository at dir to dst.
func checkOut(ctx context.Context, dir, commit, dst string, opts FetchOptions) (Fetched, error) {
	repo, err := git.PlainOpen(dir)
	if err != nil {
		return Fetched{}, err
	}
	root, err := commitTree(repo, commit)
	if err != nil {
		return Fetched{}, err
	}
	out, err := os.OpenRoot(dst)
	if err != nil {
		return Fetched{}, err
	}
	defer out.Close()
	c := checkout{repo: repo, out: out, opts: opts, got: Fetched{Commit: commit}}
	err = c.dir(ctx, root, "")
	return c.got, err
}

type checkout struct {
	repo *git.Repository
	out  *os.Root
	opts FetchOptions
	got  Fetched
}

func (c *checkout) dir(ctx context.Context, dir *object.Tree, prefix string) error {
	for _, e := range sortedEntries(dir) {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := prefix + e.Name
		if err := checkName(e.Name, path); err != nil {
			return err
		}
		if c.got.Files++; c.got.Files > c.opts.MaxFiles {
			return &platform.Error{
				Kind: platform.KindTooLarge,
				Msg:  fmt.Sprintf("the commit holds more than %d files", c.opts.MaxFiles),
			}
		}
		if e.Mode != filemode.Dir {
			if err := c.file(path, e); err != nil {
				return err
			}
			continue
		}
		sub, err := object.GetTree(c.repo.Storer, e.Hash)
		if err != nil {
			return fmt.Errorf("reading directory %s of the commit: %w", path, err)
		}
		if err := c.out.Mkdir(path, 0o755); err != nil {
			return err
		}
		if err := c.dir(ctx, sub, path+"/"); err != nil {
			return err
		}
	}
	return nil
}

func (c *checkout) file(path string, e object.TreeEntry) error {
	mode, err := entryMode(path, e.Mode)
	if err != nil {
		return err
	}
	if mode&fs.ModeSymlink != 0 {
		target, err := readLink(c.repo, e.Hash)
		if err != nil {
			return fmt.Errorf("reading link %s of the commit: %w", path, err)
		}
		return c.out.Symlink(target, path)
	}
	size, err := c.repo.Storer.EncodedObjectSize(e.Hash)
	if err != nil {
		return fmt.Errorf("reading %s of the commit: %w", path, err)
	}
	if c.got.Size += size; c.got.Size > c.opts.MaxBytes {
		return &platform.Error{
			Kind: platform.KindTooLarge,
			Msg:  fmt.Sprintf("the files of the commit are larger than %d MB", c.opts.MaxBytes>>20),
		}
	}
	blob, err := c.repo.BlobObject(e.Hash)
	if err != nil {
		return fmt.Errorf("reading %s of the commit: %w", path, err)
	}
	r, err := blob.Reader()
	if err != nil {
		return err
	}
	defer r.Close()
	return c.write(path, mode, r)
}

func (c *checkout) write(path string, mode fs.FileMode, r io.Reader) error {
	f, err := c.out.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	head := &headReader{r: r}
	_, err = io.Copy(f, head)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil && isLFSPointer(head.head) {
		return refuseLFS(path)
	}
	return err
}
