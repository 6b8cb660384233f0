// Package java runs Apache Kafka's own command-line tools, unchanged, against a broker,
// and its log dumper over the files that the broker leaves.
//
// The tests need java and the tools' jars, and are skipped unless CONFORM_JAVA is set,
// which test/conform/run does once both are there.
package java
