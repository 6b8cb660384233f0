package vfs

import (
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Op is a kind of file operation that a rule of Faults can name.
type Op int

// The kinds. OpSync is Sync and SyncData of a file, OpSyncDir of a directory;
// OpWrite is Write and WriteAt, OpRead is Read and ReadAt; OpCreate is Create,
// and OpenReadWrite of a file that may have to be made; OpRename includes
// ReuseForWrite.
const (
	OpCreate Op = iota
	OpOpen
	OpRead
	OpWrite
	OpSync
	OpSyncDir
	OpTruncate
	OpPreallocate
	OpRename
	OpLink
	OpRemove
	OpMkdir
	OpList
	OpStat
	OpLock
)

// Rule says which operations go wrong, and how.
type Rule struct {
	// Ops are the kinds it applies to; none means all.
	Ops []Op
	// Path is a pattern as in path.Match, held against as many trailing elements
	// of the operation's path as it has itself: "*.log" against the base name,
	// "journal/*" against the last two. Empty means every path. Renames and
	// links match with either of their paths.
	Path string
	// When, if set, must also answer true. It runs under the lock of the Faults
	// and must not call back into it.
	When func(op Op, path string) bool
	// Nth is the first matching operation that goes wrong, counted from 1; 0 is 1.
	Nth int
	// Once ends the rule after one operation went wrong; otherwise all that
	// follow do.
	Once bool

	// Err is what the operation answers, without being done. A sync that fails so
	// loses what it should have written, as on Linux: a later one that succeeds
	// does not write it either (on Crash; on Disk it simply was not called).
	Err error
	// Short is how many of its bytes a write does before it answers Err. For a
	// rule on writes that says nothing else, Err is ENOSPC.
	Short int
	// Corrupt changes what a read answers: p was read at off.
	Corrupt func(off int64, p []byte)
	// Hold makes the operation wait, before it is done, until the trap is
	// released; without Err it is then done as if nothing had been.
	Hold *Trap
}

// FlipBit is a Rule.Corrupt that flips one bit of the byte at offset.
func FlipBit(offset int64, bit uint) func(off int64, p []byte) {
	return func(off int64, p []byte) {
		if i := offset - off; i >= 0 && i < int64(len(p)) {
			p[i] ^= 1 << (bit % 8)
		}
	}
}

// Trap holds operations up and lets a test wait until one is there.
type Trap struct {
	once     sync.Once
	reached  chan struct{}
	release  sync.Once
	released chan struct{}
}

// NewTrap answers a trap with nothing in it.
func NewTrap() *Trap {
	return &Trap{reached: make(chan struct{}), released: make(chan struct{})}
}

// Reached is closed when the first operation is held up in the trap.
func (t *Trap) Reached() <-chan struct{} { return t.reached }

// Release lets every operation in the trap, and all that come later, go on.
func (t *Trap) Release() { t.release.Do(func() { close(t.released) }) }

func (t *Trap) enter() {
	t.once.Do(func() { close(t.reached) })
	<-t.released
}

// Applied is a rule in force.
type Applied struct {
	faults *Faults
	rule   Rule
	seen   int // operations that matched
	hits   int // of those, the ones that went wrong
}

// Hits answers how many operations the rule made go wrong.
func (a *Applied) Hits() int {
	a.faults.mu.Lock()
	defer a.faults.mu.Unlock()
	return a.hits
}

// Remove takes the rule back. Operations held in its trap stay there.
func (a *Applied) Remove() {
	a.faults.mu.Lock()
	defer a.faults.mu.Unlock()
	a.faults.rules = slices.DeleteFunc(a.faults.rules, func(b *Applied) bool { return a == b })
}

// Faults wraps a file system and makes operations go wrong by rule. Its files
// have no descriptor, so that nothing goes past the rules. Closing files is
// never disturbed. All methods may be called from any goroutine.
type Faults struct {
	inner FS

	mu     sync.Mutex
	rules  []*Applied
	budget int64 // bytes that may be written; negative = no limit
	usage  *DiskUsage
}

// NewFaults answers inner with no rule in force.
func NewFaults(inner FS) *Faults { return &Faults{inner: inner, budget: -1} }

// Add puts a rule in force. The first rule that makes an operation go wrong
// decides how.
func (f *Faults) Add(r Rule) *Applied {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &Applied{faults: f, rule: r}
	f.rules = append(f.rules, a)
	return a
}

// FillAfter makes the disk full once n more bytes are written: the write that
// passes the mark is done up to it, and it and all later ones answer ENOSPC.
// Removing files frees nothing. A negative n lifts the limit.
func (f *Faults) FillAfter(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.budget = n
}

// SetUsage decides what GetDiskUsage answers; nil asks the wrapped file system.
func (f *Faults) SetUsage(u *DiskUsage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.usage = u
}

// verdict is what the rules make of one operation.
type verdict struct {
	rule *Rule // nil: nothing happens
}

// judge finds the rule for an operation and waits in its trap. The error is the
// answer of an operation that must not be done at all; writes look at the
// verdict themselves, because part of them may be.
func (f *Faults) judge(op Op, paths ...string) (verdict, error) {
	r := f.match(op, paths)
	if r == nil {
		return verdict{}, nil
	}
	if r.Hold != nil {
		r.Hold.enter()
	}
	v := verdict{r}
	if v.fails(op) && op != OpWrite {
		return v, pathError(opNames[op], paths[0], r.err())
	}
	return v, nil
}

// fails tells whether the operation answers an error of the rule's.
func (v verdict) fails(op Op) bool {
	if v.rule == nil {
		return false
	}
	silent := v.rule.Corrupt == nil && v.rule.Hold == nil
	return v.rule.Err != nil || op == OpWrite && silent
}

func (r *Rule) err() error {
	if r.Err != nil {
		return r.Err
	}
	return syscall.ENOSPC
}

func (f *Faults) match(op Op, paths []string) *Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, a := range f.rules {
		if !a.rule.matches(op, paths) {
			continue
		}
		a.seen++
		if a.seen < a.rule.Nth {
			continue
		}
		a.hits++
		if a.rule.Once {
			f.rules = slices.Delete(f.rules, i, i+1)
		}
		return &a.rule
	}
	return nil
}

func (r *Rule) matches(op Op, paths []string) bool {
	if len(r.Ops) > 0 && !slices.Contains(r.Ops, op) {
		return false
	}
	return slices.ContainsFunc(paths, func(p string) bool {
		return matchPath(r.Path, p) && (r.When == nil || r.When(op, p))
	})
}

func matchPath(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	elements := strings.Split(path.Clean(name), "/")
	want := strings.Count(pattern, "/") + 1
	tail := strings.Join(elements[max(0, len(elements)-want):], "/")
	ok, err := path.Match(pattern, tail)
	return err == nil && ok
}

var opNames = [...]string{
	OpCreate: "create", OpOpen: "open", OpRead: "read", OpWrite: "write", OpSync: "sync",
	OpSyncDir: "sync", OpTruncate: "truncate", OpPreallocate: "fallocate", OpRename: "rename",
	OpLink: "link", OpRemove: "remove", OpMkdir: "mkdir", OpList: "list", OpStat: "stat", OpLock: "lock",
}

// String answers the kind's name as errors show it.
func (o Op) String() string { return opNames[o] }
