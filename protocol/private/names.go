package private

import (
	"regexp"
	"strings"
)

// The header keys by which a queue's message carries, beside its value, what the queue service knows of it.
const (
	// LabelHeader holds one label of a message; it is there once for each.
	LabelHeader = "dms.tag"
	// AttributePrefix stands before an attribute's name; the value is the attribute's JSON text.
	AttributePrefix = "dms.attribute."
	// DueHeader holds when a delayed message became due, in ms since the epoch, in decimal.
	DueHeader = "dms.due"
)

// The shapes of the names that queues own. Clients may use the topics and groups, not administer them.
var (
	queueTopic = regexp.MustCompile(`^[qk]-[A-Za-z0-9_-]{1,64}-` + uuidText + `(-dlq-g-` + uuidText + `)?$`)
	queueGroup = regexp.MustCompile(`^(http\.)?g-` + uuidText + `$`)
)

const uuidText = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`

// IsQueueTopic tells whether a topic of that name belongs to a queue: it is never made automatically, and only the queue
// service deletes, grows or configures it.
func IsQueueTopic(name string) bool {
	return (strings.HasPrefix(name, "q-") || strings.HasPrefix(name, "k-")) && queueTopic.MatchString(name)
}

// IsQueueGroup tells whether a group of that name may belong to a queue; whether it does, a document of kind KindQueueGroups says.
func IsQueueGroup(name string) bool {
	return (strings.HasPrefix(name, "g-") || strings.HasPrefix(name, "http.g-")) && queueGroup.MatchString(name)
}
