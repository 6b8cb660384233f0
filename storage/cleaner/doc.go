// Package cleaner compacts logs: of the records with one key only the newest stays
// (KIP-58, KIP-354, KIP-534; Kafka's LogCleaner).
//
// # One run over a log
//
//	range    from the cleaner's checkpoint to the first segment that may not be compacted
//	map      key -> last offset, over that range, in a table of bounded memory; a full
//	         table ends the range early, and the next run goes on from there
//	clean    every segment below the end of the map is read again; what the map knows a
//	         newer record of goes, into new segments, small neighbours merged
//	swap     log.ReplaceSegments, safe at every step; then the checkpoint moves
//
// May not be compacted: the active segment, what is above the recovery point (durability
// rule 9), the watermark or the last stable offset, and records younger than
// min.compaction.lag.ms.
//
// Offsets never change. A tombstone stays delete.retention.ms from the run that first
// found it newest (the batch's delete horizon). A batch that holds a producer's last
// sequence number stays as an empty batch, so that the producer's state can be read back
// from the log. Records of aborted transactions go; a marker goes when nothing of its
// transaction is left and its horizon has passed.
//
// The table keeps 128 bits of two keyed hashes in place of each key: two keys are taken
// for one with a chance of 2^-128 for each pair, and not by anyone's choice of keys.
package cleaner
