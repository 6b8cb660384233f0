// Package runtime runs coordinators: state machines whose truth is the log of one
// partition of an internal topic. Groups, share groups and transactions are such
// coordinators; each has one Runtime, and a shard in it for every partition it leads.
//
// # An operation
//
//	Do(partition, op)
//	  decide   op reads the shard (memory and table) and answers an Outcome: records, a reply
//	  append   the records become one batch, appended under the epoch the shard was loaded for
//	  apply    the records' rows enter the delta; Outcome.Then changes what is only in memory
//	  park     the reply waits for the offset that the decision saw, records of its own or not
//	  commit   the high watermark passes: rows go from the delta to the view, replies leave
//
// Nothing changes before the append succeeded, so a batch that was refused before
// anything was written fails its operation alone. A batch of unknown fate ends the
// shard's life: everything parked is answered with ErrNotCoordinator and the shard loads
// again from its log. Operations do not wait for each other's commit: many are pending
// at once and one flush of the log serves them all.
//
// # The table
//
// A shard's state is a table of rows, made from the records of the log, in log order, by
// Options.Rows (as a rule: the record's key and value, a tombstone deletes). It has two
// parts:
//
//	view    committed rows, in Pebble, with the offset they reach up to
//	delta   rows of records appended and not yet committed, in memory
//
// Decisions see both (View), readers only what is committed (Runtime.Read). A Machine
// holds besides what must be at hand (members of groups, leases) or is never written
// (who waits for what); it is built from the table when a shard loads. So memory grows
// with what is going on, not with how many rows there are.
//
//	in the key space "coordinator", name of the runtime, partition:
//	row of the view   1 | row key  ->  row value
//	head of the view  0            ->  format 1 byte | topic id 16 | applied 8 | epoch 4 | as of, ms 8
//
// "applied" is the offset after the last record in the view and "epoch" the leader epoch
// of that record's batch. Rows and head are committed together, without a sync, and never
// past the high watermark: a view is behind its log or at its end, and it can always be
// dropped and made again. Loading starts at the view's offset if it still agrees with
// the log (view.go), so it costs what changed since, not the history.
//
// # A shard's life
//
//	loading -> active -> unloaded        Unload, a newer Load, or the log says: not the leader
//	   |         |
//	   +---------+-----> failed -> (after a pause) a new life, loading
//
// Loading waits until the log's end at that moment is committed, and only then serves.
// Until then Do answers ErrLoading, after the end of the life ErrNotCoordinator.
//
// # Locks and goroutines
//
// One mutex a shard guards its state in memory; decisions, which may read the view, and the
// append to the log happen under it, everything that takes longer (writing the view,
// replies) does not. A mutex a partition, kept over the lives of its shards, keeps the
// view's writers apart and readers from seeing half a commit; it is taken before the
// shard's, never while that is held. There is no goroutine a shard: operations run on their
// caller's, commits and loads on short-lived ones that Close waits for, and timers of all
// shards share one heap and one time.Timer. An idle shard costs its memory.
package runtime
