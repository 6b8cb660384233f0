// Package replica holds the partitions this broker hosts.
//
// A [Manager] turns the cluster's metadata image into [Partition] values: it opens and
// deletes logs, makes the broker leader of what the image gives it, and keeps topic
// settings current. A Partition joins one log with its leadership: appends, the high
// watermark, who waits for it, and what readers may see.
//
// # The watermark
//
// A partition's own end is the flushed end of its log (journaled or synced) when the topic flushes, and the
// log's end when it does not. The high watermark is the least own end among the in-sync
// replicas. Readers see records below it, acknowledgements with acks=all wait for it,
// those with acks=1 wait for the leader's own end. It never falls while the process lives.
//
// # Locks
//
// Partition.role (read-write) is held shared by appends and exclusively by a change of
// leadership, so no append happens under an epoch that has ended. Waiters and watchers
// have a lock each that is never held while calling out. Nothing here holds a lock over
// disk work save the log's own.
package replica
