// Package segment is one file of a partition's log and what lies beside it, in the formats and under the names of Apache
// Kafka, so that Kafka's kafka-dump-log reads it. It knows one segment and nothing of its neighbours; storage/log owns the
// segments of a partition and decides when they are made, synced, cut and removed.
//
// Files of the segment whose first offset is 1234, in the partition's directory:
//
//	00000000000000001234.log        record batches, one after the other (see protocol/record)
//	00000000000000001234.index      offset index
//	00000000000000001234.timeindex  time index
//	00000000000000001234.txnindex   aborted transactions; only where there are some
//	00000000000000001234.snapshot   producers as they stood at offset 1234 (snapshot.go)
//	leader-epoch-checkpoint         first offset of each leader epoch (epochs.go)
//	partition.metadata              the topic's id (metadata.go)
//
// An entry of the offset index: a batch's last offset, and where the batch begins. One is written for the first batch that
// begins more than index.interval.bytes after the last one.
//
//	0  int32  last offset of the batch, less the segment's base offset
//	4  int32  position of the batch in the log file
//
// An entry of the time index: no record up to and including that offset is later than that time. Written with an entry of
// the offset index, when the time has grown, and when the segment is sealed.
//
//	0  int64  largest timestamp so far, ms
//	8  int32  last offset of the batch that holds it, less the base offset
//
// An entry of the index of aborted transactions:
//
//	 0  int16  version, 0
//	 2  int64  producer id
//	10  int64  offset of the transaction's first record
//	18  int64  offset of its marker
//	26  int64  last stable offset once it was aborted
//
// Invariants. Indexes are advice: what they say is compared with the batch header found there, and they can be rebuilt from
// the log file at any time. No batch is handed out whose checksum was not compared in this life of the process, when it was appended
// or when it was first read (verified.go). The log file is append-only until it is cut, and only one goroutine at a time writes; any number
// read at the same time. Files are open only while they are used and as long after that as the Cache has room. The package
// owns no goroutine.
package segment
