package handler

import (
	"github.com/tidemark-mq/tidemark/broker/call"
)

// shareState makes the topic that the share coordinator keeps its state in, when the first share group is heard of.
func (h *handlers) shareState(c *call.Call) {
	h.coordinatorTopic(c.Context, coordinatorTopics[shareType])
}

// ShareFetch (key 78), versions 1 to 2.
//
//	v2  acquire mode, renewing acknowledgements (KIP-1206, KIP-1222)
//
// A consumer need not have joined its group.
func (h *handlers) shareFetch(c *call.Call) {
	h.shareState(c)
	h.ShareDoor.ShareFetch(c)
}
