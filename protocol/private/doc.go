// Package private holds the requests of the broker's front door that are not Kafka's: what the queue service, the command
// line and other brokers ask of a broker beyond what a Kafka client can.
//
// They implement kmsg.Request and kmsg.Response, so that they go through the same entry as everything else
// (broker.Broker.Do). Their keys lie above all of Kafka's and below its limit of 16 bits; no client listener serves them.
//
// # Encoding
//
// One broker hands a request to another as bytes (version 0, made by AppendTo, read by ReadFrom). Fields follow each other
// in the order of the struct:
//
//	bool            1 byte, 0 or 1
//	int8..int64     big endian
//	[16]byte        as it is
//	string          unsigned varint length, bytes
//	[]byte          unsigned varint length + 1, bytes; 0 is nil
//	[]T             unsigned varint length, the elements
//	struct          its fields
//
// A reader bounds every length by the bytes that are left before it makes room for it.
package private
