package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// loadPage is how many keys one Range of a load asks for, so that no answer is larger than a few MiB.
const loadPage = 10_000

// view keeps the newest image: it loads the store once, then follows its changes.
type view struct {
	store  Store
	prefix keys
	log    *zap.Logger

	image atomic.Pointer[Image]

	// mu is held while an image is made and its callbacks run, so that both happen in order.
	mu        sync.Mutex
	aside     *aside
	callbacks []func(old, new *Image)

	// changed is closed and replaced after each new image.
	changedMu sync.Mutex
	changed   chan struct{}
}

func emptyImage() *Image { return &Image{ControllerID: NoLeader} }

func newView(store Store, prefix keys, log *zap.Logger) *view {
	v := &view{store: store, prefix: prefix, log: log, aside: newAside(), changed: make(chan struct{})}
	v.image.Store(emptyImage())
	return v
}

// Image is the newest image for which all callbacks ran.
func (v *view) Image() *Image { return v.image.Load() }

// OnChange calls fn with an empty and the current image, and from then on with each pair of images.
func (v *view) OnChange(fn func(old, new *Image)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fn(emptyImage(), v.image.Load())
	v.callbacks = append(v.callbacks, fn)
}

// load reads everything as of one revision and shows it.
func (v *view) load(ctx context.Context) error {
	d := newDraft(emptyImage(), newAside(), v.prefix, v.log)
	d.bulk = true
	page := Range{Prefix: string(v.prefix), Limit: loadPage}
	for {
		res, err := v.store.Range(ctx, page)
		if err != nil {
			return fmt.Errorf("load metadata: %w", err)
		}
		if page.Revision == 0 {
			page.Revision = res.Revision
		}
		for i := range res.KVs {
			d.apply(&Event{KV: res.KVs[i]})
		}
		if !res.More || len(res.KVs) == 0 {
			break
		}
		page.After = res.KVs[len(res.KVs)-1].Key
	}
	d.im.Revision = page.Revision

	v.mu.Lock()
	defer v.mu.Unlock()
	v.aside = d.aside
	im := d.finishLoad(v.image.Load())
	im.Incomplete = v.aside.hides()
	v.show(im)
	return nil
}

// apply shows a batch of changes as one new image.
func (v *view) apply(events []Event) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := newDraft(v.image.Load(), v.aside, v.prefix, v.log)
	for i := range events {
		d.apply(&events[i])
	}
	d.im.Incomplete = v.aside.hides()
	v.show(d.im)
	return nil
}

// show needs v.mu. It runs the callbacks, lets readers see the image, and then releases those who wait for it.
func (v *view) show(im *Image) {
	old := v.image.Load()
	for _, fn := range v.callbacks {
		fn(old, im)
	}
	v.image.Store(im)
	v.changedMu.Lock()
	close(v.changed)
	v.changed = make(chan struct{})
	v.changedMu.Unlock()
}

// Changed is closed by the next new image.
func (v *view) Changed() <-chan struct{} {
	v.changedMu.Lock()
	defer v.changedMu.Unlock()
	return v.changed
}

// await returns the first image that holds for which ok answers true.
func (v *view) await(ctx context.Context, ok func(*Image) bool) (*Image, error) {
	for {
		changed := v.Changed()
		if im := v.image.Load(); ok(im) {
			return im, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// awaitRevision waits for a change that is known to have happened.
func (v *view) awaitRevision(ctx context.Context, revision int64) (*Image, error) {
	return v.await(ctx, func(im *Image) bool { return im.Revision >= revision })
}

// hasLoose reports whether there are orphans: partition keys that no topic counts.
func (v *view) hasLoose() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for range v.aside.orphans() {
		return true
	}
	return false
}

// loose lists the partition keys that no topic counts, as of the newest image.
func (v *view) loose() []partitionRef {
	v.mu.Lock()
	defer v.mu.Unlock()
	var refs []partitionRef
	for id, parts := range v.aside.orphans() {
		for n, p := range parts {
			refs = append(refs, partitionRef{id: id, n: n, p: p})
		}
	}
	return refs
}

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 2 * time.Second
)

// follow keeps the image up to date until ctx ends.
func (v *view) follow(ctx context.Context) {
	retry := retryFirst
	for ctx.Err() == nil {
		before := v.image.Load().Revision
		err := v.store.Watch(ctx, string(v.prefix), before+1, v.apply)
		if errors.Is(err, ErrCompacted) {
			err = v.load(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil || v.image.Load().Revision > before {
			retry = retryFirst
		}
		if err != nil {
			v.log.Warn("watch of the metadata ended, trying again", zap.Duration("after", retry), zap.Error(err))
			pause(ctx, retry)
			retry = min(2*retry, retryMost)
		}
	}
}

// pause sleeps unless ctx ends first.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
