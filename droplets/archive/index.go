package archive

import (
	"maps"
	"strings"
	"unicode/utf8"
)

const (
	defaultEntries    = 200_000
	defaultBytes      = 4 << 30
	defaultRatio      = 200
	defaultRatioAfter = 10 << 20
	defaultDepth      = 100
	defaultPathBytes  = 4096
	defaultNameBytes  = 255

	// maxTarget is the longest symbolic link Linux can store.
	maxTarget = 4095
	// maxNames bounds what all names of an archive take in memory.
	maxNames = 64 << 20
)

// withDefaults fills in zero fields.
func (l Limits) withDefaults() Limits {
	orInt := func(p *int, d int) {
		if *p <= 0 {
			*p = d
		}
	}
	orInt64 := func(p *int64, d int64) {
		if *p <= 0 {
			*p = d
		}
	}
	orInt(&l.Entries, defaultEntries)
	orInt64(&l.Bytes, defaultBytes)
	orInt64(&l.Ratio, defaultRatio)
	orInt64(&l.RatioAfter, defaultRatioAfter)
	orInt(&l.Depth, defaultDepth)
	orInt(&l.PathBytes, defaultPathBytes)
	orInt(&l.NameBytes, defaultNameBytes)
	return l
}

// CleanName checks a name as it stands in an archive and returns it without
// "./", doubled or trailing slashes. The directory itself ("./") cleans to "".
func (l Limits) CleanName(raw string) (string, error) {
	l = l.withDefaults()
	switch {
	case raw == "":
		return "", Refuse(TitleEmptyName, "an entry has an empty name")
	case strings.IndexByte(raw, 0) >= 0:
		return "", Refuse(TitleNUL, "entry %s has a NUL byte in its name", quote(raw))
	case isDrivePath(raw):
		return "", Refuse(TitleDrive, "entry %s starts with a Windows drive", quote(raw))
	case strings.IndexByte(raw, '\\') >= 0:
		return "", Refuse(TitleBackslash, "entry %s has a backslash in its name", quote(raw))
	case raw[0] == '/':
		return "", Refuse(TitleAbsolute, "entry %s has an absolute path", quote(raw))
	case len(raw) > l.PathBytes:
		return "", Refuse(TitlePathTooLong, "the path of entry %s is longer than %d bytes", quote(raw), l.PathBytes)
	}
	return l.cleanComponents(raw)
}

func (l Limits) cleanComponents(raw string) (string, error) {
	depth, tidy := 0, true
	for rest, more := raw, true; more; {
		var c string
		c, rest, more = strings.Cut(rest, "/")
		switch {
		case c == "..":
			return "", Refuse(TitleTraversal, "entry %s leads out of the app's directory with \"..\"", quote(raw))
		case c == "" || c == ".":
			tidy = false
			continue
		case len(c) > l.NameBytes:
			return "", Refuse(TitleNameTooLong, "entry %s has a name longer than %d bytes in its path", quote(raw), l.NameBytes)
		}
		depth++
	}
	if depth > l.Depth {
		return "", Refuse(TitleTooDeep, "entry %s lies more than %d directories deep", quote(raw), l.Depth)
	}
	if tidy {
		return raw, nil
	}
	kept := make([]string, 0, depth)
	for c := range strings.SplitSeq(raw, "/") {
		if c != "" && c != "." {
			kept = append(kept, c)
		}
	}
	return strings.Join(kept, "/"), nil
}

func isDrivePath(s string) bool {
	if len(s) < 2 || s[1] != ':' || (len(s) > 2 && s[2] != '\\' && s[2] != '/') {
		return false
	}
	c := s[0] | 0x20
	return c >= 'a' && c <= 'z'
}

// nodeKind says what an Index knows to be at a path.
type nodeKind uint8

const (
	isImplied nodeKind = iota + 1 // a directory, because something lies in it
	isDir
	isFile
	isLink
)

type node struct {
	name string // as written; the map's key is folded
	kind nodeKind
}

// Index knows all paths of a tree that is being put together and refuses what
// cannot live side by side: duplicates, a file where a directory is, anything
// below a link, names that differ in case only. It counts entries, implied
// directories included, against the limit.
type Index struct {
	limits Limits
	fold   bool
	nodes  map[string]node
	links  Links
	names  int // bytes of all names and link targets

	// absolute judges links to absolute paths; nil refuses them.
	absolute func(name, target string) error
	newDir   func(name string) error
}

// NewIndex returns an empty index.
func NewIndex(o Options) *Index {
	x := &Index{
		limits: o.Limits.withDefaults(),
		fold:   !o.AllowCaseCollisions,
		nodes:  map[string]node{},
		links:  Links{},
	}
	if o.AllowAbsoluteLinks {
		x.absolute = func(string, string) error { return nil }
	}
	return x
}

// OnDirectory sets fn to be told of each directory that Add hears of for the
// first time, parents first.
func (x *Index) OnDirectory(fn func(name string) error) { x.newDir = fn }

// Dirs returns all directories, implied ones too, in no order.
func (x *Index) Dirs() []string {
	var dirs []string
	for _, n := range x.nodes {
		if n.kind == isDir || n.kind == isImplied {
			dirs = append(dirs, n.name)
		}
	}
	return dirs
}

// Links returns the symbolic links.
func (x *Index) Links() Links { return maps.Clone(x.links) }

// Add takes in one more entry. Its name must be clean.
func (x *Index) Add(e Entry) error {
	kind := isFile
	switch {
	case e.Mode.IsDir():
		kind = isDir
	case e.Link != "":
		kind = isLink
	}
	if e.Name == "" {
		if kind == isDir {
			return nil // the directory itself
		}
		return Refuse(TitleEmptyName, "an entry that is not a directory is named %q", "./")
	}
	if err := x.addParents(e.Name); err != nil {
		return err
	}
	old, ok := x.nodes[x.key(e.Name)]
	if !ok {
		if kind == isLink {
			x.setLink(e.Name, e.Link)
		}
		return x.put(e.Name, kind)
	}
	if old.name != e.Name {
		return collision(old.name, e.Name)
	}
	switch {
	case kind == isDir && (old.kind == isDir || old.kind == isImplied):
		x.nodes[x.key(e.Name)] = node{e.Name, isDir}
		return nil
	case kind == isLink && old.kind == isImplied:
		return Refuse(TitleThroughLink, "%s is a symbolic link, yet other entries lie below it", quote(e.Name))
	case kind == isDir || old.kind == isDir || old.kind == isImplied:
		return Refuse(TitleConflict, "%s is in the archive both as a directory and as a file", quote(e.Name))
	}
	return Refuse(TitleDuplicate, "%s is in the archive twice", quote(e.Name))
}

// setLink records where a link points, for checkLinks.
func (x *Index) setLink(name, target string) {
	x.names += len(target) - len(x.links[name])
	x.links[name] = target
}

// checkLinks refuses links that leave the tree. It is called when all are
// known.
func (x *Index) checkLinks() error {
	if x.names > maxNames {
		return tooManyEntries(x.limits)
	}
	return x.links.Check(x.absolute)
}

// addParents makes sure all directories above name exist, the nearest one
// first because it usually does.
func (x *Index) addParents(name string) error {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return nil
	}
	parent := name[:i]
	old, ok := x.nodes[x.key(parent)]
	if !ok {
		if err := x.addParents(parent); err != nil {
			return err
		}
		return x.put(parent, isImplied)
	}
	switch {
	case old.name != parent:
		return collision(old.name, parent)
	case old.kind == isLink:
		return Refuse(TitleThroughLink, "entry %s would be written through the symbolic link %s", quote(name), quote(parent))
	case old.kind == isFile:
		return Refuse(TitleConflict, "entry %s lies below %s, which is a file", quote(name), quote(parent))
	}
	return nil
}

func (x *Index) put(name string, kind nodeKind) error {
	x.names += len(name)
	if len(x.nodes) >= x.limits.Entries || x.names > maxNames {
		return tooManyEntries(x.limits)
	}
	x.nodes[x.key(name)] = node{name, kind}
	if (kind == isDir || kind == isImplied) && x.newDir != nil {
		return x.newDir(name)
	}
	return nil
}

func tooManyEntries(l Limits) error {
	return Refuse(TitleTooManyEntries, "the archive has more than %d entries, or too many long names", l.Entries)
}

func collision(a, b string) error {
	return Refuse(TitleCaseCollision, "%s and %s differ in upper and lower case only", quote(a), quote(b))
}

func (x *Index) key(name string) string {
	if !x.fold {
		return name
	}
	if utf8.ValidString(name) {
		return strings.ToLower(name)
	}
	// Not text: fold ASCII alone, so that two different bytes stay different.
	b := []byte(name)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}
