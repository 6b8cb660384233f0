// Package group is the group coordinator: classic consumer groups and committed offsets,
// as Kafka 4.4 has them.
//
// A group belongs to the partition of __consumer_offsets that PartitionFor names, and the
// broker that leads it coordinates the group. Service takes requests; for each partition a
// machine decides them under the coordinator runtime (package runtime has the rules: decide,
// append, apply, reply when committed). The files go by what they decide: join, sync,
// heartbeat, leave, and rebalance with the timers between them; commit, fetch, delete,
// expire; describe.
//
// # Records
//
// In Kafka's own formats, integers big-endian, strings with a 16-bit length:
//
//	OffsetCommit   key    int16 1, group, topic, int32 partition
//	               value  int16 4, int64 offset, int32 leader epoch, compact metadata,
//	                      int64 commit time, tags (0: topic id)
//	               value  int16 1, int64 offset, metadata, int64 commit time, int64 expiry time
//	                      where the client asked for a retention time (v2 to v4 of the API)
//	GroupMetadata  key    int16 2, group
//	               value  int16 3, protocol type, int32 generation, protocol, leader, int64
//	                      time of state, members (kmsg.GroupMetadataValue)
//
// Records of other types, which other kinds of groups have, are kept in the table untouched.
// A record's row has the record's key and value. Beside them there are rows of our own, under
// keys that begin with 0xff: which groups have members (record.go) and what open
// transactions hold (txn.go).
//
// # What is where
//
// Groups with members, or with ids handed out to members to come, are in memory: who waits
// for what is nowhere else. Their timers keep them honest. Groups without, and all offsets,
// are rows, read when they are needed, so that millions of them cost no memory and loading
// looks at the groups with members only. Sessions are not written: a new coordinator gives
// every member a whole one.
//
// The log has a group's last stable generation, or that it is empty. A rebalance under way
// when the coordinator moves is forgotten; members learn of the move and join again.
//
// Invariants: generations only grow, also over reloads; a stable group has one leader among
// its members and an assignment for each, all of it in one record; a group leaves memory
// only when its row says all there is.
package group
