package share

import (
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// The session epochs with a meaning of their own (KIP-932).
const (
	openingEpoch = 0
	closingEpoch = -1
)

// topicPartition names a partition in a session.
type topicPartition struct {
	topic uuid.ID
	n     int32
}

// sessionKey names a share session: a member has one, whatever connection its requests come over.
type sessionKey struct{ group, member string }

func (k sessionKey) of(tp topicPartition) share.Key {
	return share.Key{Group: k.group, Topic: tp.topic, Partition: tp.n}
}

// session is the partitions that a member fetches, remembered between its requests, and those of which it may hold records.
type session struct {
	key    sessionKey
	size   int         // partitions, as the table counts them; guarded by sessions.mu
	unhook func() bool // from the connection that opened it; guarded by mu

	mu    sync.Mutex
	over  error // why it is no more, nil while it is
	epoch int32 // the next one expected
	parts map[topicPartition]*member
	order []*member // those longest without records first; replaced, never changed
	held  map[topicPartition]struct{}
	// waiting is the fetch that answers for the session's latest epoch, nil when none is under way.
	waiting *fetching
	last    *settings
}

// member is a partition in a session: what its client was told of it last.
type member struct {
	topicPartition
	told   bool // the client knows that it is fetched
	named  bool // its topic has existed while it was in the session
	code   int16
	served bool // in rotateLocked only
}

// Why a session, or a fetch of one, is over; each wraps what its client is answered.
var (
	errClosed     = &sessionError{"share: the session was closed", kerr.ShareSessionNotFound}
	errReplaced   = &sessionError{"share: the session was opened anew", kerr.ShareSessionNotFound}
	errSuperseded = &sessionError{"share: the session's next request came before this one was answered", kerr.InvalidShareSessionEpoch}
)

type sessionError struct {
	text string
	code *kerr.Error
}

func (e *sessionError) Error() string { return e.text }
func (e *sessionError) Unwrap() error { return e.code }

// answerTo is the code for the whole request that ended with err.
func answerTo(err error) *kerr.Error {
	var k *kerr.Error
	if errors.As(err, &k) {
		return k
	}
	return kerr.UnknownServerError
}

func newSession(key sessionKey, asked []topicPartition) *session {
	x := &session{key: key, epoch: openingEpoch + 1, size: len(asked), held: map[topicPartition]struct{}{}}
	x.parts, x.order = make(map[topicPartition]*member, len(asked)), make([]*member, 0, len(asked))
	for _, tp := range asked {
		x.addLocked(tp)
	}
	return x
}

func (x *session) addLocked(tp topicPartition) {
	if x.parts[tp] == nil {
		m := &member{topicPartition: tp}
		x.parts[tp] = m
		x.order = append(x.order, m)
	}
}

// checkLocked tells whether a request of that epoch is the session's next.
func (x *session) checkLocked(epoch int32) *kerr.Error {
	switch {
	case x.over != nil:
		return kerr.ShareSessionNotFound
	case x.epoch != epoch:
		return kerr.InvalidShareSessionEpoch
	}
	return nil
}

// advanceLocked expects the next epoch; a fetch that still waits is not the one that the client goes on from.
func (x *session) advanceLocked() (superseded *fetching) {
	x.epoch = followingEpoch(x.epoch)
	superseded, x.waiting = x.waiting, nil
	return superseded
}

// followingEpoch follows e; it wraps around to 1.
func followingEpoch(e int32) int32 {
	if e <= 0 || e == 1<<31-1 {
		return 1
	}
	return e + 1
}

// growthLocked is by how many partitions updateLocked would make the session larger, before it forgets any.
func (x *session) growthLocked(add []topicPartition) (n int) {
	for _, tp := range add {
		if x.parts[tp] == nil {
			n++
		}
	}
	return n
}

// updateLocked adds partitions, and forgets some after that: what a client gives up it names for its last acknowledgements
// too. What is held of forgotten ones stays so until the session closes.
func (x *session) updateLocked(add, forget []topicPartition) (changed bool) {
	before := len(x.order)
	for _, tp := range add {
		x.addLocked(tp)
	}
	dropped := false
	for _, tp := range forget {
		if x.parts[tp] != nil {
			delete(x.parts, tp)
			dropped = true
		}
	}
	if !dropped {
		return len(x.order) > before
	}
	order := make([]*member, 0, len(x.parts))
	for _, m := range x.order {
		if x.parts[m.topicPartition] == m {
			order = append(order, m)
		}
	}
	x.order = order
	return true
}

// countLocked is how many partitions the session remembers.
func (x *session) countLocked() int {
	n := len(x.parts)
	for tp := range x.held {
		if x.parts[tp] == nil {
			n++
		}
	}
	return n
}

// rotateLocked moves the partitions that were served to the end, so that the others come first next time.
func (x *session) rotateLocked(served []*member) {
	if len(served) == 0 || len(served) >= len(x.order) {
		return
	}
	for _, m := range served {
		m.served = true
	}
	order := make([]*member, 0, len(x.order))
	for _, last := range []bool{false, true} {
		for _, m := range x.order {
			if m.served == last {
				order = append(order, m)
			}
		}
	}
	for _, m := range served {
		m.served = false
	}
	x.order = order
}
