package vfs_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// pair runs each operation on the disk and on Crash and compares what a caller
// can see of them.
type pair struct {
	t     *testing.T
	rng   *rand.Rand
	disk  vfs.FS
	crash vfs.FS
	root  string // of the disk's tree
	open  []both
	locks map[string][2]io.Closer
}

type both struct {
	disk, crash vfs.File
	write       bool
	name        string
}

func TestCrashBehavesLikeTheDisk(t *testing.T) {
	seeds := 150
	if testing.Short() {
		seeds = 20
	}
	base := rand.Uint64()
	for i := range seeds {
		seed := base + uint64(i)
		p := &pair{
			t: t, rng: rand.New(rand.NewPCG(seed, 0)),
			disk: vfs.Disk(), crash: vfs.NewCrash(seed), root: t.TempDir(),
			locks: map[string][2]io.Closer{},
		}
		for range 120 {
			what := p.step()
			if t.Failed() {
				t.Fatalf("seed %d: %s", seed, what)
			}
		}
		p.compareTrees("/")
		for _, f := range p.open {
			_ = f.disk.Close()
			_ = f.crash.Close()
		}
		for _, l := range p.locks {
			_ = l[0].Close()
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// class is what callers branch on in an error.
func class(err error) string {
	for _, known := range []error{
		os.ErrClosed, syscall.ENOENT, syscall.EEXIST, syscall.ENOTDIR, syscall.EISDIR,
		syscall.ENOTEMPTY, syscall.EBADF, syscall.EINVAL, syscall.EPERM, io.EOF,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if err != nil {
		return "other: " + err.Error()
	}
	return ""
}

func (p *pair) same(what string, disk, crash error) {
	p.t.Helper()
	d, c := class(disk), class(crash)
	if d != c {
		p.t.Errorf("%s: disk %q (%v), crash %q (%v)", what, d, disk, c, crash)
	}
}

func (p *pair) name() string {
	names := []string{"a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "e", "e/a", "a/x", "d/e/f/g", "."}
	return names[p.rng.IntN(len(names))]
}

func (p *pair) at(name string) string { return filepath.Join(p.root, name) }

func (p *pair) step() string {
	x, y := p.name(), p.name()
	for x == "." {
		x = p.name()
	}
	for y == "." {
		y = p.name()
	}
	switch p.rng.IntN(24) {
	case 0:
		d, derr := p.disk.Create(p.at(x), vfs.Unspecified)
		c, cerr := p.crash.Create(x, vfs.Unspecified)
		return p.opened("create "+x, d, c, derr, cerr, true)
	case 1, 2:
		d, derr := p.disk.OpenReadWrite(p.at(x), vfs.Unspecified)
		c, cerr := p.crash.OpenReadWrite(x, vfs.Unspecified)
		return p.opened("openrw "+x, d, c, derr, cerr, true)
	case 3:
		d, derr := p.disk.Open(p.at(x), vfs.RandomReads)
		c, cerr := p.crash.Open(x, vfs.RandomReads)
		return p.opened("open "+x, d, c, derr, cerr, false)
	case 4:
		d, derr := p.disk.ReuseForWrite(p.at(x), p.at(y), vfs.Unspecified)
		c, cerr := p.crash.ReuseForWrite(x, y, vfs.Unspecified)
		return p.opened("reuse "+x+" "+y, d, c, derr, cerr, true)
	case 5:
		what := "remove " + x
		p.same(what, p.disk.Remove(p.at(x)), p.crash.Remove(x))
		return what
	case 6:
		what := "removeall " + x
		if p.rng.IntN(4) == 0 {
			d, c := p.disk.RemoveAll(p.at(x)), p.crash.RemoveAll(x)
			if !errors.Is(d, syscall.ENOTDIR) { // of a path through a file; nobody does that
				p.same(what, d, c)
			}
		}
		return what
	case 7, 8:
		what := "rename " + x + " " + y
		p.same(what, p.disk.Rename(p.at(x), p.at(y)), p.crash.Rename(x, y))
		return what
	case 9:
		what := "link " + x + " " + y
		p.same(what, p.disk.Link(p.at(x), p.at(y)), p.crash.Link(x, y))
		return what
	case 10, 11:
		what := "mkdir " + x
		p.same(what, p.disk.MkdirAll(p.at(x), 0o755), p.crash.MkdirAll(x, 0o755))
		return what
	case 12:
		size := p.rng.Int64N(20000) - 10
		what := fmt.Sprintf("truncate %s %d", x, size)
		p.same(what, p.disk.Truncate(p.at(x), size), p.crash.Truncate(x, size))
		return what
	case 13:
		p.compareTrees(x)
		return "compare " + x
	case 14:
		return p.lock(x)
	default:
		return p.fileStep()
	}
}

func (p *pair) opened(what string, d, c vfs.File, derr, cerr error, write bool) string {
	p.same(what, derr, cerr)
	if derr == nil && cerr == nil {
		p.open = append(p.open, both{d, c, write, what})
	}
	return what
}

func (p *pair) lock(x string) string {
	if held, ok := p.locks[x]; ok {
		p.same("unlock "+x, held[0].Close(), held[1].Close())
		delete(p.locks, x)
		return "unlock " + x
	}
	d, derr := p.disk.Lock(p.at(x))
	c, cerr := p.crash.Lock(x)
	if (derr == nil) != (cerr == nil) {
		p.t.Errorf("lock: disk %v, crash %v", derr, cerr)
	}
	if derr == nil && cerr == nil {
		_, derr = p.disk.Lock(p.at(x))
		_, cerr = p.crash.Lock(x)
		if derr == nil || cerr == nil {
			p.t.Errorf("second lock: disk %v, crash %v", derr, cerr)
		}
		p.locks[x] = [2]io.Closer{d, c}
	}
	return "lock " + x
}

func (p *pair) fileStep() string {
	if len(p.open) == 0 {
		return "nothing open"
	}
	i := p.rng.IntN(len(p.open))
	f := p.open[i]
	off := p.rng.Int64N(15000)
	data := make([]byte, 1+p.rng.IntN(6000))
	for j := range data {
		data[j] = byte(p.rng.Uint32())
	}
	what := ""
	switch p.rng.IntN(9) {
	case 0, 1:
		what = fmt.Sprintf("write %d to %s", len(data), f.name)
		dn, derr := f.disk.Write(slices.Clone(data))
		cn, cerr := f.crash.Write(data)
		p.same(what, derr, cerr)
		p.equal(what, dn, cn)
	case 2, 3:
		what = fmt.Sprintf("write %d at %d of %s", len(data), off, f.name)
		dn, derr := f.disk.WriteAt(data, off)
		cn, cerr := f.crash.WriteAt(data, off)
		p.same(what, derr, cerr)
		p.equal(what, dn, cn)
	case 4:
		what = "read " + f.name
		d, c := make([]byte, len(data)), make([]byte, len(data))
		dn, derr := f.disk.Read(d)
		cn, cerr := f.crash.Read(c)
		p.same(what, derr, cerr)
		p.equal(what, string(d[:dn]), string(c[:cn]))
	case 5:
		what = fmt.Sprintf("read %d at %d of %s", len(data), off, f.name)
		d, c := make([]byte, len(data)), make([]byte, len(data))
		dn, derr := f.disk.ReadAt(d, off)
		cn, cerr := f.crash.ReadAt(c, off)
		p.same(what, derr, cerr)
		p.equal(what, string(d[:dn]), string(c[:cn]))
	case 6:
		what = "sync " + f.name
		p.same(what, f.disk.Sync(), f.crash.Sync())
		p.same(what, f.disk.SyncData(), f.crash.SyncData())
	case 7:
		what = fmt.Sprintf("vector of %d at %d of %s", len(data), off, f.name)
		third := len(data) / 3
		bufs := [][]byte{data[:third], nil, data[third : 2*third], data[2*third:]}
		if f.write {
			dn, derr := vfs.WriteV(f.disk, bufs, off)
			cn, cerr := vfs.WriteV(f.crash, bufs, off)
			p.same(what, derr, cerr)
			p.equal(what, dn, cn)
		}
		p.same(what, vfs.DropCache(f.disk), vfs.DropCache(f.crash))
	case 8:
		what = "close " + f.name
		p.same(what, f.disk.Close(), f.crash.Close())
		_, derr := f.disk.ReadAt(make([]byte, 1), 0)
		_, cerr := f.crash.ReadAt(make([]byte, 1), 0)
		p.same(what+" and read", derr, cerr)
		p.same(what+" twice", f.disk.Close(), f.crash.Close())
		p.open = slices.Delete(p.open, i, i+1)
		return what
	}
	dinfo, derr := f.disk.Stat()
	cinfo, cerr := f.crash.Stat()
	p.same(what+", then stat", derr, cerr)
	if derr == nil && cerr == nil && !dinfo.IsDir() {
		p.equal(what+", then size", dinfo.Size(), cinfo.Size())
	}
	return what
}

func (p *pair) equal(what string, disk, crash any) {
	p.t.Helper()
	if disk != crash {
		p.t.Errorf("%s: disk and crash differ: %.60q, %.60q", what, fmt.Sprint(disk), fmt.Sprint(crash))
	}
}

// compareTrees compares names, kinds, sizes and contents below a path.
func (p *pair) compareTrees(name string) {
	p.t.Helper()
	d, derr := p.disk.Stat(p.at(name))
	c, cerr := p.crash.Stat(name)
	p.same("stat "+name, derr, cerr)
	if derr != nil || cerr != nil {
		return
	}
	p.equal("directory "+name, d.IsDir(), c.IsDir())
	if !d.IsDir() || !c.IsDir() {
		p.equal("name "+name, d.Name(), c.Name())
		p.equal("size "+name, d.Size(), c.Size())
		dd, err := vfs.ReadFile(p.disk, p.at(name), 1<<20)
		require.NoError(p.t, err)
		cc, err := vfs.ReadFile(p.crash, name, 1<<20)
		require.NoError(p.t, err)
		p.equal("content of "+name, string(dd), string(cc))
		return
	}
	dl, derr := p.disk.List(p.at(name))
	cl, cerr := p.crash.List(name)
	p.same("list "+name, derr, cerr)
	slices.Sort(dl)
	slices.Sort(cl)
	p.equal("list "+name, fmt.Sprint(dl), fmt.Sprint(cl))
	for _, child := range dl {
		p.compareTrees(p.crash.PathJoin(name, child))
	}
}
