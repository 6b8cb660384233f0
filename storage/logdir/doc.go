// Package logdir is one data directory: its lock and identity, the logs in it, the flusher that makes them durable, the
// small facts about them, and what is done for them in the background.
//
//	<dir>/.lock             held while in use
//	<dir>/meta.properties   whose directory this is
//	<dir>/clean             there after an orderly stop only: restart then reads no log
//	<dir>/views/            Pebble: the coordinators' views, and this package's facts about logs
//	<dir>/journal/          the shared write-ahead journal
//	<dir>/logs/<topic>-<n>/ segments and their side files
//
// # Starting
//
// [Open] locks the directory, compares identity, and learns how the last life ended: from the clean mark, whose facts
// are believed, or from the journal. [Dir.OpenLog] then opens each log the metadata knows, several at a time, recovering
// it where the stop was not clean. [Dir.Activate] ends recovery: what was recovered is synced and its recovery points
// are recorded, the journal is made void, and from then on appends are flushed. Logs opened later are new ones.
//
// The clean mark is removed, durably, before Open returns: whatever this life acknowledges can only be believed after
// recovery or another clean stop.
//
// # Failure
//
// A failed sync, of the journal or a segment or Pebble, ends the directory's life (durability rule 11): Failed is closed,
// nothing is acknowledged any more, Close writes no clean mark.
package logdir
