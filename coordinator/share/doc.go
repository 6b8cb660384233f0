// Package share is the share coordinator: it keeps what became of records for share groups, as Kafka 4.4 does.
//
// A share partition belongs to the partition of __share_group_state that PartitionFor names, and the broker that leads it
// coordinates the share partition. Service takes calls of this broker (the engine, which leads the partition that is read;
// the group coordinator) and the requests of others (wire.go); for each partition a machine decides them under the coordinator
// runtime (package runtime has the rules: decide, append, apply, reply when committed).
//
// # Records
//
// In Kafka's own format, integers big-endian; arrays and tagged fields as in flexible versions of the protocol:
//
//	key             type int16 (0 ShareSnapshot, 1 ShareUpdate) | group, int16 length | topic id 16 | partition int32
//	ShareSnapshot   version int16 0 | snapshot epoch 4 | state epoch 4 | leader epoch 4 | start 8 | created ms 8 | written ms 8 |
//	                batches | tags; without a value (tombstone) the state is deleted
//	ShareUpdate     version int16 0 | snapshot epoch 4 | leader epoch 4 | start 8 | batches | tags
//	batch           first 8 | last 8 | state 1 | deliveries 2 | tags
//
//	tags of both    0    delivery complete count 4 (Kafka's)
//	                100  counters: accepted, rejected, dead-lettered, filtered, skipped: uvarints, sums
//	                101  producer: id 8 | epoch 2 | sequence 4 | topic id 16
//	                102  the newest leader epoch that spoke 4, where the leader epoch is not that one
//	                103  holders: their number, then length and name of each; uvarints
//	                104  (ShareUpdate, empty) the batches replace what there was of their offsets
//	tags of a batch 100  failures, holder (its place in 103, from 1; 0: none), until ms; uvarints
//	                101  intent: topic id 16 | partition 4 | producer id 8 | epoch 2 | sequence 4 | cause, uvarint length
//
// Tags from 100 on are ours; Kafka's tools pass over them. An update with 104 is a Write of the engine. One without is Kafka's:
// it is merged with what is there, the batch with more deliveries, or of equals with the higher state, winning. Counters are
// the sums, so a record may be applied twice.
//
// A snapshot is one record. With 100,000 ranges, each with a holder of its own, it takes about 7 MB, and internal topics
// admit 32 MiB; were it refused, the updates would go on and it would be tried again when they are twice as many.
//
// # Rows
//
// A state is its last snapshot and the updates since, as they are in the log; K is a key without its type:
//
//	'S' K          ->  value of the snapshot
//	'U' K offset   ->  value of an update after it
//	'H' K          ->  offset of the snapshot
//	'O' offset     ->  written ms 8 | K: which snapshot is the first in the log
//
// So a write is one record and one row, whatever the window holds, and a load reads at most about twice a snapshot. In memory a
// state is a tree of ranges (ranges.go), made from the rows when it is used and dropped when memory is short or it was idle.
//
// # Snapshots and the log
//
// A snapshot is written when the updates since the last are 500 (share.coordinator.snapshot.update.records.per.snapshot) or
// 64 KiB, and outweigh it: over time each update pays for at most as many bytes again. The topic is not compacted. From time
// to time snapshots that lie far back are renewed and the records below the first that is needed are deleted (upkeep.go), as
// Kafka's share coordinator does, but only when the log holds much that nobody needs, and more of it than they would take.
//
// Invariants: batches do not overlap, do not lie below the start, and neighbours differ; after a Write the first offset at the
// start is not settled, and the delivery complete count is the number of settled offsets above it; the start falls, and epochs
// are forgotten, by Initialize and Delete alone; a state in memory says what its rows say, committed or not, and when the log
// refuses a change, it is taken back.
package share
