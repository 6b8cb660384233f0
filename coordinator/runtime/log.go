package runtime

import "errors"

// Log is one partition's log as a coordinator uses it. Its methods may be called from any
// goroutine.
type Log interface {
	// Append writes one batch in the leader epoch the shard was loaded under and answers
	// the offset of its first record. It may stamp the batch in place and keeps nothing of
	// it. Errors wrap ErrNotLeader (the epoch is over), ErrRefused or ErrTooLarge (nothing
	// was written, and nothing will be); after any other the batch's fate is unknown.
	Append(epoch int32, batch []byte) (base int64, err error)

	// WhenCommitted has fn called once: with nil when the high watermark has reached end,
	// or with an error when it will not, which wraps ErrNotLeader when leadership ended.
	// fn returns at once and takes no lock; it may be called before WhenCommitted returns.
	WhenCommitted(end int64, fn func(error))

	// Read answers whole batches from the one that holds offset from, or the first after
	// it, about maxBytes of them and at least one; records above the high watermark too.
	// Nothing is there to read when the answer is empty.
	Read(from int64, maxBytes int) ([]byte, error)

	// Start is the first offset kept, End the offset after the last record, HighWatermark
	// the offset below which everything is committed.
	Start() int64
	End() int64
	HighWatermark() int64
}

// What a Log answers to an append that did not happen.
var (
	// ErrNotLeader: this broker does not lead the partition in that epoch.
	ErrNotLeader = errors.New("not the leader of the coordinator's partition in this epoch")
	// ErrRefused: the log turned the batch away before writing any of it.
	ErrRefused = errors.New("the log refused the batch")
	// ErrTooLarge: refused, because the batch is larger than the topic admits.
	ErrTooLarge = errors.New("the batch is larger than the coordinator's topic admits")
	// ErrUnknown: nobody can tell whether the batch is, or will be, in the log.
	ErrUnknown = errors.New("the fate of the append is unknown")
)

// What the runtime answers instead of running an operation, or instead of its success.
var (
	// ErrNotCoordinator: no shard of that partition is served here, or it stopped being
	// while the operation was pending; the operation may have happened.
	ErrNotCoordinator = errors.New("the partition's coordinator is not here")
	// ErrLoading: the shard is not ready yet.
	ErrLoading = errors.New("the coordinator is loading")
	// ErrTimedOut: the operation was not committed in time; it may be later.
	ErrTimedOut = errors.New("the coordinator's write was not committed in time")
	// ErrBusy: too much is pending in the shard.
	ErrBusy = errors.New("too many operations are pending in the coordinator")
)

// refused tells whether nothing of a failed append was or will be written.
func refused(err error) bool {
	return errors.Is(err, ErrRefused) || errors.Is(err, ErrTooLarge)
}
