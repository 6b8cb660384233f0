// Package wire stands between the bytes of a client and everything that trusts them: request and response headers, the table
// of Kafka 4.4's client-facing APIs, and the bounded walk that a request passes before kmsg decodes it.
//
// It owns no state and opens nothing; every function works on the bytes it is given. A frame is the bytes after its size:
//
//	request                                   response
//	+----------------+---------+              +----------------+---------+
//	| api key        | int16   |              | correlation id | int32   |
//	| api version    | int16   |              | tags           | if v1   |
//	| correlation id | int32   |              | body           |         |
//	| client id      | string? |              +----------------+---------+
//	| tags           | if v2   |
//	| body           |         |
//	+----------------+---------+
//
// Header v2 and response header v1 belong to the API's flexible versions. The client id is never compact, and ApiVersions
// is always answered with response header v0, so that a client can read the answer to a version it guessed.
//
// Invariants:
//
//   - Check reads each byte at most once, allocates nothing unless it refuses, and every step it takes consumes a byte.
//   - What Check lets through, kmsg decodes without an error, and allocates no more than a small factor of Check's estimate.
//   - What Kafka's own parsers refuse, Check refuses: null where the definition has none, more than 1,000,000 elements or 10,000 tags,
//     a compact string above 32,767 bytes, a tag that its version does not have. What they let pass, bytes after the request
//     among it, it lets pass. Encodings that kmsg would read otherwise than Kafka are refused; no client writes them: a varint whose
//     fifth byte overflows 32 bits, a length above 2^31-1, a byte below -1 for a null structure, a tag whose size
//     is not that of its content.
//   - The strings of a decoded request are valid UTF-8 and its own; of byte fields only Produce's records alias the frame.
//
// Sources: Kafka's protocol guide and message definitions for 4.4, KIP-482 (compact types and tags), KIP-511 (ApiVersions).
package wire
