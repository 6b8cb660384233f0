package group

import (
	"encoding/hex"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// maxIDPrefix bounds the part of a member id that clients choose, so that the whole fits
// the records' 16-bit lengths.
const maxIDPrefix = 32_000

// newMemberID makes the id of a new member as Kafka does: its instance or client id, and a
// random UUID.
func newMemberID(clientID string, instance *string) string {
	prefix := clientID
	if instance != nil {
		prefix = *instance
	}
	if len(prefix) > maxIDPrefix {
		prefix = prefix[:maxIDPrefix]
	}
	id := uuid.New()
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562, version 4
	h := hex.EncodeToString(id[:])
	return prefix + "-" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
