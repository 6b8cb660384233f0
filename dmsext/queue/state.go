package queue

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// queueDoc is a document of kind queues.
type queueDoc struct {
	Name        string     `json:"name"`
	Mode        Mode       `json:"mode"`
	Description *string    `json:"description,omitempty"`
	Created     int64      `json:"created"` // ms since the epoch
	Redrive     bool       `json:"redrive,omitempty"`
	MaxConsume  int        `json:"max_consume,omitempty"`
	Hours       int        `json:"retention_hours"`
	Partitions  int32      `json:"partitions"`
	Backoff     string     `json:"retry_backoff,omitempty"`
	Topic       uuid.ID    `json:"topic,omitzero"` // zero: the topic is still to be made
	Deleting    bool       `json:"deleting,omitempty"`
	Groups      []groupDoc `json:"groups,omitempty"` // in the order of creation
}

// groupDoc is a group in its queue's document.
type groupDoc struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Created  int64    `json:"created"`
	Ready    bool     `json:"ready,omitempty"` // its settings are set and it is registered
	Deleting bool     `json:"deleting,omitempty"`
	Rule     *ruleDoc `json:"rule,omitempty"`
}

// ruleDoc is a group's label rule; the labels are sorted.
type ruleDoc struct {
	Labels []string `json:"labels"`
	All    bool     `json:"all,omitempty"`
}

// ownerDoc is a document of kind queue-groups.
type ownerDoc struct {
	Project string `json:"project"`
	Queue   string `json:"queue"`
}

// queue is a queue's document as it is worked with. It is not changed after it was made, but for what is atomic.
type queue struct {
	queueDoc
	project, id string
	revision    int64
	key         [16]byte // the id's bytes
	topicName   string
	groups      []*group // of Groups, in its order
	live        *live
}

// live is what a queue's documents have in common over their revisions.
type live struct{ next atomic.Uint32 } // the partition for the next call

// group is a group of a queue.
type group struct {
	*groupDoc
	key   [16]byte
	share string // the share group's name
	dlq   string // the dead letters' topic
	// letters is the id of the dead letters' topic when it was last seen; nil: not yet seen.
	letters atomic.Pointer[uuid.ID]
}

// newQueue reads a document.
func newQueue(project, id string, d private.Document) (*queue, error) {
	q := &queue{project: project, id: id, revision: d.Revision, live: new(live)}
	if err := json.Unmarshal(d.Value, &q.queueDoc); err != nil {
		return nil, fmt.Errorf("document of queue %s/%s: %w", project, id, err)
	}
	var ok bool
	if q.key, ok = parseUUID(id); !ok {
		return nil, fmt.Errorf("document of queue %s/%s: the id is no UUID", project, id)
	}
	q.topicName = "q-" + project + "-" + id
	if q.Mode.Kafka() {
		q.topicName = "k-" + project + "-" + id
	}
	for i := range q.Groups {
		g := &group{groupDoc: &q.Groups[i]}
		if g.key, ok = parseGroupID(g.ID); !ok {
			return nil, fmt.Errorf("document of queue %s/%s: %q is no id of a group", project, id, g.ID)
		}
		g.share = g.ID
		if q.Mode.Kafka() {
			g.share = "http." + g.ID
		}
		g.dlq = q.topicName + "-dlq-" + g.ID
		q.groups = append(q.groups, g)
	}
	return q, nil
}

func (q *queue) docName() string { return q.project + "/" + q.id }

// group finds a group that is there, nil if none is.
func (q *queue) group(id string) *group {
	for _, g := range q.groups {
		if g.ID == id && !g.Deleting {
			return g
		}
	}
	return nil
}

// alive are the groups that are not being deleted.
func (q *queue) alive() []*group {
	return slices.DeleteFunc(slices.Clone(q.groups), func(g *group) bool { return g.Deleting })
}

// shown is the queue without its numbers.
func (q *queue) shown() Queue {
	out := Queue{
		ID: q.id, Name: q.Name, Mode: q.Mode, Description: q.Description, Created: time.UnixMilli(q.Created),
		Retention: time.Duration(q.Hours) * time.Hour, MaxMessageBytes: maxCallBytes, Redrive: q.Redrive, MaxConsumeCount: q.MaxConsume, Topic: q.topicName,
		Partitions: int(q.Partitions), RetryBackoff: q.Backoff,
	}
	for _, g := range q.groups {
		if !g.Deleting {
			out.Groups++
		}
	}
	if q.Mode.Kafka() {
		out.KafkaTopic = q.topicName
	}
	return out
}

// parseUUID reads the 36 characters of a UUID in lower case.
func parseUUID(s string) (id [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, false
	}
	var digits [32]byte
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
		case '0' <= c && c <= '9' || 'a' <= c && c <= 'f':
			digits[n] = c
			n++
		default:
			return id, false
		}
	}
	_, err := hex.Decode(id[:], digits[:])
	return id, err == nil
}

func parseGroupID(s string) (id [16]byte, ok bool) {
	text, ok := strings.CutPrefix(s, "g-")
	if !ok {
		return id, false
	}
	return parseUUID(text)
}

// formatUUID writes an id as parseUUID reads it.
func formatUUID(id [16]byte) string {
	var b [36]byte
	hex.Encode(b[:8], id[:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:], id[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// newUUID makes the text of a random id.
func newUUID() string { return formatUUID([16]byte(uuid.New())) }

// cache keeps read documents by their names, each in its newest revision.
type cache struct {
	mu     sync.RWMutex
	queues map[string]*queue
}

// mostCached bounds the cache; a document that has no room in it is read anew each time it is needed.
const mostCached = 20_000

func (c *cache) get(name string) *queue {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.queues[name]
}

// put keeps q, unless something newer is kept, and carries over what belongs to the queue in all its revisions.
func (c *cache) put(name string, q *queue) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.queues[name]; old != nil {
		if q.live = old.live; old.revision > q.revision {
			return
		}
	}
	if c.queues == nil {
		c.queues = make(map[string]*queue)
	}
	if len(c.queues) >= mostCached {
		for k := range c.queues { // any one
			delete(c.queues, k)
			break
		}
	}
	c.queues[name] = q
}

func (c *cache) drop(name string) {
	c.mu.Lock()
	delete(c.queues, name)
	c.mu.Unlock()
}
