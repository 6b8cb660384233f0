package handler

import (
	"context"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/group"
)

// JoinGroup (key 11), versions 0 to 9.
//
//	v1  rebalance timeout                                v2  throttle time
//	v4  a new member gets an id to come back with (KIP-394)
//	v5  group instance id (KIP-345)                      v6  flexible
//	v7  protocol type in the answer, protocol nullable   v8  reason (KIP-800)
//	v9  skip assignment (KIP-814)
//
// The answer comes when the rebalance is complete.
func (h *handlers) joinGroup(c *call.Call) {
	req := c.Request.(*kmsg.JoinGroupRequest)
	gone := req.ResponseKind().(*kmsg.JoinGroupResponse)
	gone.MemberID, gone.ErrorCode = req.MemberID, kerr.NotCoordinator.Code
	caller := group.Caller{ClientID: c.Header.ClientID, ClientHost: c.Peer.Host()}
	h.Groups.JoinGroup(caller, req, parked(c, gone))
}

// parked answers a call that waits for others, once: with what done is called with or, when nobody waits for the answer any
// more or the broker drains, with gone, which sends the client to look for its coordinator again.
func parked[R kmsg.Response](c *call.Call, gone R) (done func(R)) {
	var answered atomic.Bool
	reply := func(r R) {
		if answered.CompareAndSwap(false, true) {
			c.Reply(call.Response{Message: r})
		}
	}
	stop := context.AfterFunc(c.Context, func() { reply(gone) })
	return func(r R) {
		stop()
		reply(r)
	}
}
