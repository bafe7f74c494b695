package archive

import (
	"maps"
	"path"
	"slices"
	"strings"
)

const (
	// maxHops is where the kernel gives a chain of links up as a loop.
	maxHops = 40
	// maxLinkWork bounds, in bytes of paths looked up, the work of following
	// all links of one tree.
	maxLinkWork = 256 << 20
)

// Links are the symbolic links of a tree, path to target. Its Check follows
// them as the kernel would, without touching the disk: a link may look
// harmless by its text and still leave the tree by way of another link.
type Links map[string]string

// Check returns an error for the first link, by name, that leads out of the
// tree. absolute judges absolute targets; nil refuses them all. Loops and
// links to nothing are fine: they lead nowhere.
func (l Links) Check(absolute func(name, target string) error) error {
	if absolute == nil {
		absolute = func(name, target string) error {
			return Refuse(TitleLinkAbsolute, "the symbolic link %s points to the absolute path %s", quote(name), quote(target))
		}
	}
	work := 0
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if err := l.follow(name, absolute, &work); err != nil {
			return err
		}
	}
	return nil
}

func (l Links) follow(name string, absolute func(name, target string) error, work *int) error {
	at := path.Dir(name) // "." or a real directory: nothing lies below a link
	rest := l[name]
	if path.IsAbs(rest) {
		return absolute(name, path.Clean(rest))
	}
	for hops := 0; rest != ""; {
		var c string
		c, rest, _ = strings.Cut(rest, "/")
		switch c {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return Refuse(TitleLinkEscape, "the symbolic link %s points to %s, outside the app", quote(name), quote(l[name]))
			}
			at = path.Dir(at)
			continue
		}
		next := c
		if at != "." {
			next = at + "/" + c
		}
		if *work += len(next) + len(rest); *work > maxLinkWork {
			return Refuse(TitleLinkInvalid, "the symbolic links of the archive, such as %s, are too tangled to follow", quote(name))
		}
		target, isLink := l[next]
		switch {
		case !isLink:
			at = next
		case path.IsAbs(target):
			return absolute(name, path.Join(target, rest))
		case hops == maxHops:
			return nil
		default:
			hops++
			rest = target + "/" + rest
		}
	}
	return nil
}

// checkTarget refuses texts that cannot be a symbolic link's target.
func checkTarget(name, target string) error {
	switch {
	case target == "":
		return Refuse(TitleLinkInvalid, "the symbolic link %s points nowhere: its target is empty", quote(name))
	case strings.IndexByte(target, 0) >= 0:
		return Refuse(TitleLinkInvalid, "the target of the symbolic link %s has a NUL byte", quote(name))
	case len(target) > maxTarget:
		return Refuse(TitleLinkInvalid, "the target of the symbolic link %s is longer than %d bytes", quote(name), maxTarget)
	}
	return nil
}
