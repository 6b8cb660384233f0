// Package share holds a broker's share groups (KIP-932) against Apache Kafka's own client
// and tools.
//
// The client is KafkaShareConsumer, in a program of this directory's client folder: a list
// of cases, each with a topic and a group of its own. What the cases print is compared
// with testdata/transcript.txt, which is what they print against Apache Kafka 4.4.0:
//
//	go test -run TestShareConsumer -args -record   records it anew, from a new Apache Kafka
//
// Two recordings are equal. Times are not in the transcript; they are logged.
//
// It needs java, javac and the tools' jars, and is skipped unless CONFORM_SHARE is set,
// which test/conform/run does once they are there.
package share
