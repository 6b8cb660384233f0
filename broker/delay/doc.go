// Package delay keeps messages that are due later, and has each enter its partition once when it is due.
//
// Its truth is the internal topic __delayed_messages, compacted, one runtime shard a partition. The partition that a message
// is bound for (its target) chooses the shard, so that the messages of a target enter it in the order of their due times, and
// of their arrival where those are equal.
//
// # Records
//
// Numbers are big endian, "u" is an unsigned varint.
//
//	message  key    'm' | topic id 16 | partition 4 | due, ms 8 | id 8
//	         value  1 | key: u length + 1 (0 is null), bytes | value: likewise | u headers | each: u length, name; value as above
//	target   key    't' | topic id 16 | partition 4
//	         value  1 | producer id 8 | epoch 2 | next sequence 4 | u messages of the open intent |
//	                    if any: its sequence 4 | offset to look from 8 | each: due 8 | id 8
//
// A message's record goes with a tombstone when it has entered its target or was cancelled, and compaction then drops both, so
// a long delay pins no segment. The intent has a key of its own: compaction never takes a message for its intent.
//
// # Once
//
//	intent   which messages come next, as which sequence of the target's own producer
//	copy     those messages, as one idempotent batch in the target
//	settle   tombstones of the messages; the next intent, if more is due, is in the same batch
//
// Each step begins when the one before is durable. There is one open intent a target. After a restart an open intent is gone
// on with: if a batch of that producer and sequence stands in the target, at or after the offset that the intent names, it is
// settled, otherwise the copy is made again. A target that is gone settles its messages.
//
// # Time
//
// Messages are due by Options.Now, a clock that steps of the machine's clock do not move. Due times are kept as wall-clock times,
// which the next life compares with the clock as it finds it then.
//
// # Memory
//
// Messages are rows of the shard's view. In memory there is an entry for each target that has messages, with the time of the
// next; a timer a target, in the runtime's heap. A row beside the message rows counts them for each target:
//
//	count    key    0xff 'c' | topic id 16 | partition 4        value  messages 8
package delay
