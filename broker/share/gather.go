package share

import "sync/atomic"

// gather waits for several things that are done by callbacks.
type gather struct {
	left atomic.Int32
	err  atomic.Pointer[error]
	then func(error)
}

// newGather calls then with the first error when n things are done, and one more that the caller itself does when it has begun
// all of them.
func newGather(n int, then func(error)) *gather {
	g := &gather{then: then}
	g.left.Store(int32(n) + 1)
	return g
}

// one says that one of them is done.
func (g *gather) one(err error) {
	if err != nil {
		g.err.CompareAndSwap(nil, &err)
	}
	if g.left.Add(-1) > 0 {
		return
	}
	if why := g.err.Load(); why != nil {
		g.then(*why)
		return
	}
	g.then(nil)
}
