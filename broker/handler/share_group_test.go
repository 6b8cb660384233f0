package handler

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Share consumers and administrators ask for the group's coordinator alone: nobody but the broker can see that the share
// coordinator's topic is missing.
func TestTheFirstUseOfAShareGroupMakesTheShareCoordinatorsTopic(t *testing.T) {
	beat := func(epoch int32) kmsg.Request {
		req := at(1, kmsg.NewPtrShareGroupHeartbeatRequest())
		req.GroupID, req.MemberID, req.MemberEpoch, req.SubscribedTopicNames = "g", "m", epoch, []string{"none"}
		return req
	}
	alter := at(0, kmsg.NewPtrAlterShareGroupOffsetsRequest())
	alter.GroupID = "g"
	for name, tc := range map[string]struct {
		req   kmsg.Request
		needs bool
	}{
		"a member joins":               {beat(0), true},
		"offsets are set":              {alter, true},
		"a member leaves that is gone": {beat(-1), false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newGroupsFixture(t)
			do[kmsg.Response](f, tc.req)
			require.Equal(t, tc.needs, f.cluster.Image().Topic("__share_group_state") != nil)
		})
	}
}
