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
// # Leadership
//
// An acknowledgement belongs to the leader epoch its records were appended in: it is given only while the broker leads in that
// epoch and its lease lives by the broker's own clock. A partition that is closed (topic deleted, broker stopped, storage
// failed) stays so; a topic made again has other partitions. A fenced broker keeps its partitions and acts as leader of none:
// OnLeadership is told so, and told again when the fence is gone, because coordinators end with it.
//
// # Locks
//
// Manager.leadMu, then Partition.roleMu, then the lock of a partition's waiters or watchers. leadMu is held while the image or
// the fence changes who leads, and over OnLeadership. Partition.roleMu (read-write) is held shared by appends and
// exclusively by a change of leadership, so no append happens under an epoch that has ended. The locks of waiters and watchers
// are never held while calling out; callbacks may run under leadMu when a fence fails them. Nothing here holds a lock over
// disk work save an append's shared roleMu and the log's own.
package replica
