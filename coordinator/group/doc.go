// Package group is the group coordinator: classic consumer groups, committed offsets and
// share groups (KIP-932), as Kafka 4.4 has them.
//
// A group belongs to the partition of __consumer_offsets that PartitionFor names, and the
// broker that leads it coordinates the group. Service takes requests; for each partition a
// machine decides them under the coordinator runtime (package runtime has the rules: decide,
// append, apply, reply when committed). The files go by what they decide: join, sync,
// heartbeat, leave, and rebalance with the timers between them; commit, fetch, delete,
// expire; describe. Share groups have files of their own, share_*.go.
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
// Of a share group, with strings in keys as above, and values flexible: compact strings and
// arrays (uvarint length + 1), and tags at the end of every struct. All values begin with int16 0.
//
//	ShareGroupMemberMetadata            key    int16 10, group, member
//	                                    value  rack or null, client id, client host, [topic name]
//	ShareGroupMetadata                  key    int16 11, group
//	                                    value  int32 epoch, int64 hash of the topics (ours, see topicsHash)
//	ShareGroupTargetAssignmentMetadata  key    int16 12, group
//	                                    value  int32 epoch, tag 0: int64 time
//	ShareGroupTargetAssignmentMember    key    int16 13, group, member
//	                                    value  [topic id, [int32 partition]]
//	ShareGroupCurrentMemberAssignment   key    int16 14, group, member
//	                                    value  int32 epoch, int32 epoch before, int8 0,
//	                                           [topic id, [int32 partition]]
//	ShareGroupStatePartitionMetadata    key    int16 15, group
//	                                    value  initializing [topic id, name, [int32 partition]],
//	                                           initialized, the same, deleting [topic id, name]
//
// Records of other types, which other kinds of groups have, are kept in the table untouched.
// A record's row has the record's key and value. Beside them there are rows of our own, under
// keys that begin with 0xff: which groups have members (record.go), what open transactions
// hold (txn.go), and which share groups' states are to change (share_record.go).
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
// # Share groups
//
// A member's heartbeat brings everything: the first one is answered with what the member is to
// read, and a change by others comes with the next. Kafka waits with assignments, so that many
// changes make one; here each makes its own, which costs the records of the members it moves.
// A share group in memory is what the log has (shareGroup, which does not change, and the draft
// that takes its place) and what it has not (shareWork).
//
// What a group reads has a state a partition at the share coordinator. States are made and
// deleted by runs (share_run.go), one a group at a time; an answer that gives a member
// partitions waits for theirs, at most a second. Share groups do not expire.
//
// Invariants: generations and epochs only grow, also over reloads; a stable group has one
// leader among its members and an assignment for each, all of it in one record; a group leaves
// memory only when its rows say all there is; a state that is there is never made again, except
// by who alters offsets; no state outlives its group.
package group
