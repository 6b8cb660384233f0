package window

import (
	"fmt"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// Intend gives Archiving records their intent, in place of the one they had; nil cancels it. s must lie within one range that
// DeadLetters names, and be all of it if that has an intent: ErrState. What of s is below Start is passed over; nil without an
// error: all of it.
func (w *Window) Intend(s Span, in *share.Intent) (*Change, error) {
	if s.First = max(s.First, w.start); s.First > s.Last {
		return nil, nil
	}
	r := w.find(s.First)
	if r == nil || !r.is(share.Archiving) || r.last < s.Last || r.intent != nil && (Span{r.first, r.last}) != s {
		return nil, fmt.Errorf("dead letters %d to %d: %w", s.First, s.Last, ErrState)
	}
	c := w.newChange()
	for _, r := range w.carve(s) {
		b := r.batch()
		b.Intent = in
		w.change(c, r, b)
	}
	w.join(s)
	return w.seal(c), nil
}

// Copied settles Archiving records whose copy stands. What of s is not Archiving, or busy: ErrState. What of it is below
// Start is passed over; nil without an error: all of it.
func (w *Window) Copied(s Span) (*Change, error) {
	return w.archive(s, func(c *share.Counters) *int64 { return &c.DeadLettered })
}

// Abandon settles Archiving records that get no copy; they count as rejected. As Copied otherwise.
func (w *Window) Abandon(s Span) (*Change, error) {
	return w.archive(s, func(c *share.Counters) *int64 { return &c.Rejected })
}

func (w *Window) archive(s Span, counter func(*share.Counters) *int64) (*Change, error) {
	if s.First = max(s.First, w.start); s.First > s.Last {
		return nil, nil
	}
	if s.Last >= w.end {
		return nil, fmt.Errorf("dead letters %d to %d: %w", s.First, s.Last, ErrState)
	}
	runs := w.carve(s)
	for _, r := range runs {
		if !r.is(share.Archiving) {
			err := fmt.Errorf("dead letter %d: %w", r.first, ErrState)
			w.join(s)
			return nil, err
		}
	}
	c := w.newChange()
	*counter(&c.Add) += s.Len()
	for _, r := range runs {
		b := r.batch()
		b.State, b.Intent = share.Archived, nil
		w.change(c, r, b)
	}
	w.join(s)
	return w.seal(c), nil
}
