// Package golden holds the broker's answers against those of Apache Kafka 4.4.0, byte for
// byte where a byte means something, so that a clone without Java guards them too.
//
// A scenario is a short script of requests (and raw frames) on connections of its own. It
// runs twice: with every API at the lowest version Kafka 4.4 serves, and with every API at
// the highest. What was answered is written down as text, one block for each request:
//
//	CreateTopics v7: a name that is taken
//	  Topics: Topic="topics-highest-a" ErrorCode=TOPIC_ALREADY_EXISTS
//
// A line is one struct of the answer, indented below the struct that holds it, with those
// of its fields that differ from the protocol's default. Elements of a list are sorted,
// unless their order is promised. What only one broker can know (ids, ports, sizes, the
// time of day) is shown as a name for it, the same name wherever the same value stands.
// Throttle times and the wording of error messages are left out.
//
// testdata holds the recordings. They are made again, from a new Apache Kafka that the
// test starts (java and mvn needed), by
//
//	go test ./test/conform/golden -count=1 -args -record
package golden
