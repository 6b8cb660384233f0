// Package rest is the HTTP door of the queue service: the paths, bodies, answers and errors of the DMS API, dialects v1.0
// and v2 with one set of handlers (DMS reference, sections 1 to 8 and 10).
//
// It owns the listener and its connections, and knows nothing of what a queue is: package queue does. What is checked here
// is what can be seen in the request alone (form, ranges, sizes); what depends on the queue is the queue's to refuse.
//
// # A request
//
//	route -> project's form -> body, bounded -> who asks -> handler -> answer
//
// The body is read before it is known who asks, since signatures cover it; until then it costs no more than the route
// allows, and all bodies in flight together no more than Limits.BodyMemory.
//
// # Long polls
//
// A retrieval that finds nothing waits up to a minute, and thousands of consumers may wait at once. One that waits longer
// than Limits.ParkAfter is parked: its connection is taken out of net/http, whose goroutine, buffers and request end, and
// what stays is the socket and the waiting call; one watcher notices for all of them when a client leaves. With its answer
// the connection goes back to net/http through the listener, as if it had just been accepted, keeping what the client may
// already have sent of its next request.
//
//	accept -> listener.queue -> http.Server -> handler -> poll -> park -> answer -> listener.queue
//
// Invariants: a connection is owned by net/http or by a poll, never by both; every poll ends before Stop returns; a request
// gets one answer with one request ID.
package rest
