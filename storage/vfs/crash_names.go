package vfs

import (
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// nameOp is an operation on names that no directory sync has covered. It is
// kept or lost as a whole: a rename takes one name away and sets another.
type nameOp struct{ parts []namePart }

// namePart says that name in dir stands for node, or for nothing if that is nil.
type namePart struct {
	dir  *node
	name string
	to   *node
	dead bool // something later about this name is durable already
}

func (op *nameOp) touches(dir *node) bool {
	return slices.ContainsFunc(op.parts, func(p namePart) bool { return p.dir == dir })
}

func setName(names map[string]*node, name string, to *node) {
	if to == nil {
		delete(names, name)
	} else {
		names[name] = to
	}
}

// changeLocked makes one operation on names current and notes it as unsynced.
func (c *Crash) changeLocked(parts ...namePart) {
	for _, p := range parts {
		setName(p.dir.entries, p.name, p.to)
		p.dir.touch()
	}
	c.names = append(c.names, &nameOp{parts: parts})
}

// syncNamesLocked makes every operation on names of dir durable.
func (c *Crash) syncNamesLocked(dir *node) {
	waiting := c.names[:0]
	for _, op := range c.names {
		if !op.touches(dir) {
			waiting = append(waiting, op)
			continue
		}
		for _, p := range op.parts {
			if p.dead {
				continue
			}
			setName(p.dir.durable, p.name, p.to)
			supersede(waiting, p)
		}
	}
	clear(c.names[len(waiting):])
	c.names = waiting
}

// supersede marks what older operations wanted of a name that got its later
// meaning out of their order.
func supersede(older []*nameOp, now namePart) {
	for _, op := range older {
		for i := range op.parts {
			if p := &op.parts[i]; p.dir == now.dir && p.name == now.name {
				p.dead = true
			}
		}
	}
}

func clean(name string) string { return path.Clean("/" + name) }

// findLocked answers the node of a path, or the error an operation gets for it.
func (c *Crash) findLocked(op, name string) (*node, error) {
	dir, base, err := c.parentLocked(op, name)
	if err != nil {
		return nil, err
	}
	if base == "" {
		return dir, nil
	}
	if n := dir.entries[base]; n != nil {
		return n, nil
	}
	return nil, pathError(op, name, syscall.ENOENT)
}

// parentLocked answers the directory of a path and the last name in it, which is
// empty for the root. It fails when the power is cut.
func (c *Crash) parentLocked(op, name string) (*node, string, error) {
	if c.isDead {
		return nil, "", pathError(op, name, ErrCut)
	}
	parts := strings.Split(clean(name)[1:], "/")
	dir := c.root
	for _, part := range parts[:len(parts)-1] {
		next := dir.entries[part]
		if next == nil {
			return nil, "", pathError(op, name, syscall.ENOENT)
		}
		if !next.dir {
			return nil, "", pathError(op, name, syscall.ENOTDIR)
		}
		dir = next
	}
	return dir, parts[len(parts)-1], nil
}

// Create makes the named file anew; an existing one loses its name.
func (c *Crash) Create(name string, _ Category) (File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, base, err := c.parentLocked("open", name)
	if err != nil {
		return nil, err
	}
	if base == "" {
		return nil, pathError("open", name, syscall.EISDIR)
	}
	if old := dir.entries[base]; old != nil {
		if err := c.removeLocked(name, dir, base); err != nil {
			return nil, err
		}
	}
	n := c.newNode(false)
	c.changeLocked(namePart{dir: dir, name: base, to: n})
	return &crashFile{fs: c, name: name, node: n, write: true}, nil
}

// Link gives a file a second name.
func (c *Crash) Link(oldname, newname string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.findLocked("link", oldname)
	if err != nil {
		return err
	}
	dir, base, err := c.parentLocked("link", newname)
	if err != nil {
		return err
	}
	switch {
	case base == "" || dir.entries[base] != nil:
		err = syscall.EEXIST
	case n.dir:
		err = syscall.EPERM
	default:
		c.changeLocked(namePart{dir: dir, name: base, to: n})
		return nil
	}
	return &os.LinkError{Op: "link", Old: oldname, New: newname, Err: err}
}

// Remove takes a file's or an empty directory's name away.
func (c *Crash) Remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, base, err := c.parentLocked("remove", name)
	if err != nil {
		return err
	}
	return c.removeLocked(name, dir, base)
}

func (c *Crash) removeLocked(name string, dir *node, base string) error {
	n := dir.entries[base]
	switch {
	case base == "":
		return pathError("remove", name, syscall.EBUSY)
	case n == nil:
		return pathError("remove", name, syscall.ENOENT)
	case len(n.entries) > 0:
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	c.changeLocked(namePart{dir: dir, name: base})
	return nil
}

// RemoveAll removes a name and everything below it, each by an operation of its
// own. A name that is not there is no error.
func (c *Crash) RemoveAll(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, base, err := c.parentLocked("removeall", name)
	if err != nil {
		if c.isDead {
			return err
		}
		return nil
	}
	if base == "" {
		return pathError("removeall", name, syscall.EINVAL)
	}
	if dir.entries[base] != nil {
		c.removeTreeLocked(dir, base)
	}
	return nil
}

func (c *Crash) removeTreeLocked(dir *node, base string) {
	n := dir.entries[base]
	for _, child := range slices.Sorted(maps.Keys(n.entries)) {
		c.removeTreeLocked(n, child)
	}
	c.changeLocked(namePart{dir: dir, name: base})
}

// Rename gives a file or directory another name, which a file may have had.
func (c *Crash) Rename(oldname, newname string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.renameLocked(oldname, newname)
}

func (c *Crash) renameLocked(oldname, newname string) error {
	from, base, err := c.parentLocked("rename", oldname)
	if err != nil {
		return err
	}
	to, newbase, err := c.parentLocked("rename", newname)
	if err != nil {
		return err
	}
	n, target := from.entries[base], to.entries[newbase]
	switch {
	case base == "" || newbase == "":
		err = syscall.EBUSY
	case n == nil:
		err = syscall.ENOENT
	case target != nil && target.dir:
		err = syscall.EEXIST // os.Rename refuses to replace even an empty one
	case n.dir && strings.HasPrefix(clean(newname)+"/", clean(oldname)+"/"):
		err = syscall.EINVAL
	case n.dir && target != nil:
		err = syscall.ENOTDIR
	case n == target:
		return nil // two names of one file: both stay
	default:
		c.changeLocked(namePart{dir: from, name: base}, namePart{dir: to, name: newbase, to: n})
		return nil
	}
	return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
}

// MkdirAll makes a directory and the parents it lacks.
func (c *Crash) MkdirAll(name string, _ os.FileMode) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isDead {
		return pathError("mkdir", name, ErrCut)
	}
	dir := c.root
	for _, part := range strings.Split(clean(name)[1:], "/") {
		if part == "" {
			break // the root itself
		}
		next := dir.entries[part]
		if next == nil {
			next = c.newNode(true)
			c.changeLocked(namePart{dir: dir, name: part, to: next})
		}
		if !next.dir {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		dir = next
	}
	return nil
}

// List answers the names in a directory, in an order that depends on the seed:
// no file system promises one.
func (c *Crash) List(name string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.findLocked("open", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, pathError("readdirent", name, syscall.ENOTDIR)
	}
	names := slices.Sorted(maps.Keys(n.entries))
	rng := rand.New(rand.NewPCG(c.seed, n.id))
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names, nil
}

// Lock holds the named file, which is made or emptied, until the answer is
// closed. A second Lock of it fails meanwhile.
func (c *Crash) Lock(name string) (io.Closer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := clean(name)
	if c.locks[key] {
		return nil, errLocked(name)
	}
	n, err := c.openLocked(name, true)
	if err != nil {
		return nil, err
	}
	if err := n.truncate(0); err != nil {
		return nil, pathError("open", name, err)
	}
	c.locks[key] = true
	return &crashLock{fs: c, path: key}, nil
}
