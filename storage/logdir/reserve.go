package logdir

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// How often free space is looked at: more often when it gets scarce.
const (
	spaceOften  = 250 * time.Millisecond
	spaceSeldom = 2 * time.Second
	scarce      = 4 // times the reserve
)

// Full tells whether free space is below the reserve, so that clients' produces are to be refused with ErrDiskFull. It costs one
// atomic load. Deletions, acknowledgements and the broker's own appends go on.
func (d *Dir) Full() bool { return d.full.Load() }

// OnDiskFull has fn called with the present state, and whenever it changes. fn must be short.
func (d *Dir) OnDiskFull(fn func(full bool)) {
	d.mu.Lock()
	d.onFull = append(d.onFull, fn)
	d.mu.Unlock()
	fn(d.Full())
}

// watchSpace follows the free space of the file system.
func (d *Dir) watchSpace(ctx context.Context) {
	pause := time.Duration(0)
	for d.o.Reserve >= 0 {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = d.lookAtSpace()
	}
}

// lookAtSpace answers when to look again.
func (d *Dir) lookAtSpace() time.Duration {
	total, usable, err := d.Space()
	if err != nil {
		d.o.Log.Warn("free space is not known", zap.Error(err))
		return spaceSeldom
	}
	reserve := d.o.Reserve
	if reserve == 0 {
		reserve = min(maxReserve, max(minReserve, total/reserveDivisor))
	}
	full := usable < reserve
	if d.Full() {
		full = usable < reserve+reserve/10
	}
	if full != d.Full() {
		d.setFull(full, usable, reserve)
	}
	if usable < scarce*reserve {
		return spaceOften
	}
	return spaceSeldom
}

func (d *Dir) setFull(full bool, usable, reserve int64) {
	d.full.Store(full)
	fields := []zap.Field{zap.String("dir", d.o.Dir), zap.Int64("free bytes", usable), zap.Int64("reserve bytes", reserve)}
	if full {
		d.o.Log.Error("disk is nearly full: produce requests are refused until there is space again", fields...)
	} else {
		d.o.Log.Info("disk has space again: produce requests are accepted", fields...)
	}
	d.mu.Lock()
	callbacks := d.onFull
	d.mu.Unlock()
	for _, fn := range callbacks {
		fn(full)
	}
}
