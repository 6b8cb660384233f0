// Package logdir is one data directory: its lock and identity, the logs in it, the flusher that makes them durable, recovery
// after a crash, and what goes on in the background: checkpoints, retention, cleaning, watching the disk's free space.
//
// # Layout
//
//	.lock             held while the directory is in use
//	meta.properties   whose directory this is (identity.go)
//	clean-shutdown    there after a clean stop, until the next start's Activate
//	failed-sync       there after a failed sync, until a start has recovered from it
//	kv/               the key-value store: facts about logs (facts.go), and views of coordinators
//	journal/          the shared journal (storage/journal)
//	logs/<topic>-<n>  the partitions (storage/log); with the suffix -delete, those waiting to be removed
//	rescue/           journal entries of logs that are offline (rescue.go)
//
// # A life
//
// [Open] takes the lock, reads the facts and, after anything but a clean stop, the journal. [Dir.OpenLog] opens or recovers one log;
// many may be opened at a time. [Dir.Activate], once the logs are open, records what recovery found, removes the clean-shutdown
// marker and starts the flusher; nothing may be appended before. It is called again after logs were opened later. [Dir.Close] closes
// the logs and leaves the marker, by which the next start reads neither journal nor segments.
//
// # What is durable when
//
// A fact about a log is durable before anything that depends on it is acknowledged or removed: that a log exists, before its first
// append is told as flushed; a recovery point, before the journal is recycled; a log start, before segments below it go. Recovery
// never acknowledges by accident: logs are synced up to their ends, recovery points recorded, and only then the journal is
// declared void and written again (durability rules 6 to 8).
//
// A log that is neither among the facts nor on disk has been deleted, whatever the journal still says of it. A deletion
// therefore removes the facts and writes a void, durably, then renames the directory; what is left of it after a crash belongs to
// nobody and is a stray. Nothing is synced for it: none of it is to survive.
//
// # Owner, goroutines, locks
//
// The broker owns the Dir. The Dir owns the flusher's goroutines, one for retention, one that watches free space, one for the
// cleaner, one that removes directories, and one that waits for failures; none per log. Dir.mu guards the table of logs and is
// not held over I/O.
package logdir
