// Package share is the lease engine at the leader of a partition: it hands out records to groups under leases, takes back what
// became of them, and sends to the dead letters what failed too often.
//
// A share partition is a partition as one group reads it. Its window (package window) is loaded from the share coordinator's
// state when it is first used and lives until this broker no longer leads the partition, the state is altered by others, or
// nobody used it for a while. A change of the window is decided in memory, written to the state, and takes effect when it is
// durable; changes of other ranges overlap it on the way.
//
// Two doors use the engine: share consumers (ShareFetch, ShareAcknowledge, with sessions), and the queue service (package
// protocol/private), where each retrieve is a lease of its own.
//
// # Waiting
//
// A long poll stands in the lines of its partitions. When something may be acquired, the partition tries the first of its line,
// and the next one only when that has taken what it wants or does not want it. A partition watches its log only while somebody
// stands in its line. All leases of the engine share one timer.
//
// # Time
//
// Leases and retries go by Options.Now, a clock that steps of the machine's clock do not move; polls' own waiting and records' time
// stamps by time.Now. Ends of leases are kept as wall-clock times, which the next life compares with the clock as it finds it then.
//
// # Locks
//
// A poll's lock and a partition's are never held together. Within either, the engine's table, its deadlines and a log's watchers may be
// locked. No lock is held over reads of the log, over calls of State, or over anything that is called back.
package share
