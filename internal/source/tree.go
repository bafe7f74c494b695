package source

import (
	"errors"
	"io"
	"io/fs"
)

// File is one entry of a Tree.
type File struct {
	Path string      // relative to the app's root, separated by "/"
	Mode fs.FileMode // fs.ModeDir, fs.ModeSymlink or a regular file's permissions
	Size int64       // of a regular file; 0 otherwise
	SHA1 string      // hex; regular files with Size > 0 only
	Link string      // target of a symbolic link
}

// IsRegular reports whether f is a plain file.
func (f File) IsRegular() bool { return f.Mode.IsRegular() }

// Tree is the list of files an app is made of, sorted by path with each
// directory before what it holds, and the means to read them.
type Tree struct {
	Files []File
	// Commit is the full hash of the commit the files were read from; empty
	// for a directory. Builds see it as SOURCE_VERSION.
	Commit string
	// Skipped names sockets, pipes and devices that were left out.
	Skipped []string

	open func(File) (io.ReadCloser, error)
}

// Open returns the content of a regular file of the tree.
func (t *Tree) Open(f File) (io.ReadCloser, error) {
	if !f.IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: f.Path, Err: errors.New("not a regular file")}
	}
	return t.open(f)
}
