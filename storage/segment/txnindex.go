package segment

// AbortedTxn is one aborted transaction as .txnindex holds it.
type AbortedTxn struct {
	ProducerID   int64
	FirstOffset  int64 // of its first record
	LastOffset   int64 // of its marker
	StableOffset int64 // last stable offset after it ended
}
