// Package fetch answers Fetch requests: sessions (KIP-227), reading within limits, long
// polls, and the encoding of an answer whose records stay in their files.
//
// A request becomes a poll: the partitions to read, in order, with where each stands. The
// poll reads; if it has enough to answer it answers at once, else it watches its
// partitions and reads again when one of them changes, until its time is up. Between
// attempts it holds no file and no buffer.
//
// Records are never copied into an answer: a [replica.Records] names a run of bytes in a
// segment file, and the answer's pieces point there (call.Piece), for the server to send.
//
// # Locks
//
// poll.mu guards one poll's progress; session.mu one session; Sessions.mu the table. Order:
// poll, session, table. None is held while calling out of the package.
package fetch
