// Package log is one partition's log: an ordered run of segments, the producers that wrote to it, and the leader epochs it was
// written under. It assigns offsets, refuses what the rules of idempotence refuse, rolls, cuts and forgets segments, and
// after a crash finds out what of it can be believed (recover.go; docs: durability rules 1 to 10). It belongs to whoever opened
// it, storage/logdir, and owns no goroutine and no timer, so that ten thousand idle logs cost little memory and nothing else.
//
// On disk, in the directory "<topic>-<partition>": Kafka's files (see storage/segment), and while something goes on, the same
// names with .tmp (a side file being written), .cleaned and .swap (compaction, replace.go) or .deleted (gone from the log, removed
// after file.delete.delay.ms). Nothing is there before the first append.
//
// Offsets of a log, each at most the next:
//
//	Start          first offset that may be read; moves up by retention and DeleteRecordsTo
//	RecoveryPoint  below it, all segments with their indexes and the epoch file are synced
//	FlushedEnd     below it, everything is durable, in segments or in the journal
//	End            the next record's offset
//
// The high watermark lies between Start and End; the log is told of it and deletes nothing above.
//
// Locks, in the order in which they are taken. syncMu is held by whatever syncs, cuts or removes files: Sync, Retain,
// DeleteRecordsTo, truncation, ReplaceSegments, Close. mu is the append lock; appends write to the page cache under it, and only
// the rare operations that say so sync under it. Readers take neither: they load the offsets and the immutable list of
// segments, End first, and hold files by reference.
package log
