//go:build !linux

package rest

// watcher is for systems with epoll; here each parked poll has a goroutine that reads.
type watcher struct{}

func newWatcher() (*watcher, error) { return &watcher{}, nil }
func (w *watcher) add(*poll) bool   { return false }
func (w *watcher) remove(*poll)     {}
func (w *watcher) run()             {}
func (w *watcher) stop()            {}
func (w *watcher) close() error     { return nil }
