// Package journal makes appends durable: it is the flusher of one data directory and the write-ahead journal that the
// directory's logs share.
//
// # Job
//
// A [Flusher] works in rounds. While one round is written and synced, the appends of every log collect for the next; a
// round is one write and one fdatasync of a file whose blocks already exist, however many logs it holds. A log with much
// new data ([Options.OwnSyncBytes] in a round) is not copied: its segment is synced itself, by a bounded pool of workers
// that never hold up the journal's round, and that leave the disk to rounds while other logs have any (turns.go). Behind the
// journal the segments only sit in the page cache, until the checkpointer syncs them (oldest first, spread out), has their
// recovery points recorded and thereby frees journal files.
//
// A [Stream] is one log's end of it. Its flushed end moves only over a contiguous durable prefix: what the journal holds
// above an own sync that is still under way counts when that sync has ended (durability rule 1). Streams of logs that do
// not flush are not journaled; their flushed end follows the checkpointer.
//
// # Notes about own syncs
//
// Rule 5 wants an own sync noted in the journal, so that recovery knows what was promised. The note is not what makes the
// data durable, the segment's sync did that, and without it recovery finds the data by validating the segment. It only
// tells a damaged acknowledged batch from an unacknowledged tail. So an acknowledgement does not wait for it: the note rides
// with the next round, or goes alone when no round came within [noteDelay]. A power cut within that time loses no data; it
// takes a power cut and, in the same [noteDelay], damage of bytes already synced to go unnoticed.
//
// # Files
//
// Files are named <slot>.journal, all in one directory, and are used again in turn. A file begins with a header block;
// frames follow, each at a multiple of 4 KiB, one frame a round, padded with zeros (so that a frame never shares a disk
// sector with an acknowledged one, and a recycled file's pages are never read before they are written):
//
//	header block, 4096 bytes, written once when the file is made
//	  0  magic "tidemark-journal"          16 bytes
//	 16  version                           uint32, big endian like everything here
//	 20  CRC-32C of bytes 24..32           uint32
//	 24  salt, random                      uint64
//	 32  zeros
//
//	frame
//	  0  magic "TMJF"                      4 bytes
//	  4  CRC-32C of bytes 8..40+length     uint32
//	  8  salt of the file                  uint64
//	 16  sequence number of the round      uint64
//	 24  oldest round still needed         uint64
//	 32  length of the entries             uint32
//	 36  number of entries                 uint32
//	 40  entries
//
//	entry
//	  0  kind: 1 data, 2 note, 3 void      1 byte
//	  1  zeros                             3 bytes
//	  4  partition                         int32
//	  8  topic id                          16 bytes
//	 24  base offset                       int64   data: first offset; note, void: as end
//	 32  end offset                        int64   data: offset after the last; note: flushed end; void: log end
//	 40  flushed end when written          int64
//	 48  leader epoch                      int32
//	 52  length of the batches             uint32
//	 56  batches, as in the segment
//
// Sequence numbers rise by one from round to round through all files, and a round is written only after the one before
// it is synced. So the newest valid frame says all: every round from its "oldest" up to itself must be there, and one that
// is not is damage ([DamageError]), not a torn tail. Only the newest round can be torn. A recycled file's leftovers have
// numbers below "oldest", and a file is written over only after a durable frame has said so. The salt keeps what a client
// produced from being taken for a frame. A new life of the process starts well above every number seen.
//
// The format is our own rather than that of Pebble's record package, which was measured beside it: the handling of a lone entry
// costs both a few microseconds next to a sync of more than a hundred. But record writes a large round in pieces of 32 KiB, each
// a system call, lets rounds share disk sectors, and knows one file at a time, so that a lost file or a lost round at a file's
// end would go unnoticed; numbering the rounds through all files needs no less code than wrapping it.
//
// # Owner and locks
//
// logdir owns the Flusher: Start, Close, and Failed. One mutex (Flusher.mu) guards the collecting round, the states of all
// streams and the bookkeeping of files; it is held for copies and arithmetic only, never over I/O or a callback. Callbacks
// of one stream never overlap and never go backwards, save for [Stream.Void].
//
// After a failed write or sync nothing is tried again: the flusher stops, Failed is closed, nothing is acknowledged any
// more (rule 11).
package journal
