package group

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A view that cannot be read, because the disk below it failed, is for clients a coordinator that is not here: they look for it
// again. UNKNOWN_SERVER_ERROR would end a consumer.
func TestAViewThatCannotBeReadIsNoCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		require.NoError(t, c.db.Close())
		answers := map[string]int16{}

		answers["JoinGroup"] = c.join("g", client("a")).get().ErrorCode
		commit := kmsg.NewPtrOffsetCommitRequest()
		commit.Version, commit.Group, commit.Generation = 8, "g", 3
		commit.MemberID = "a"
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic, topic.Partitions = "t", append(topic.Partitions, part)
		commit.Topics = append(commit.Topics, topic)
		committed := reply1[*kmsg.OffsetCommitResponse]{t: t}
		c.OffsetCommit(commit, committed.set)
		answers["OffsetCommit"] = committed.get().Topics[0].Partitions[0].ErrorCode

		for name, stable := range map[string]bool{"OffsetFetch": false, "OffsetFetch, stable": true} {
			asked := kmsg.NewOffsetFetchRequestGroup()
			asked.Group = "g"
			fetched := reply1[kmsg.OffsetFetchResponseGroup]{t: t}
			c.OffsetFetch(&asked, stable, fetched.set)
			answers[name] = fetched.get().ErrorCode
		}

		describe := kmsg.NewPtrDescribeGroupsRequest()
		describe.Version, describe.Groups = 5, []string{"g"}
		described := reply1[*kmsg.DescribeGroupsResponse]{t: t}
		c.DescribeGroups(describe, described.set)
		answers["DescribeGroups"] = described.get().Groups[0].ErrorCode

		remove := kmsg.NewPtrDeleteGroupsRequest()
		remove.Groups = []string{"g"}
		removed := reply1[*kmsg.DeleteGroupsResponse]{t: t}
		c.DeleteGroups(remove, removed.set)
		answers["DeleteGroups"] = removed.get().Groups[0].ErrorCode

		forget := kmsg.NewPtrOffsetDeleteRequest()
		forget.Group = "g"
		forgotten := reply1[*kmsg.OffsetDeleteResponse]{t: t}
		c.OffsetDelete(forget, forgotten.set)
		answers["OffsetDelete"] = forgotten.get().ErrorCode

		list := kmsg.NewPtrListGroupsRequest()
		listed := reply1[*kmsg.ListGroupsResponse]{t: t}
		c.ListGroups(list, listed.set)
		answers["ListGroups"] = listed.get().ErrorCode

		for name, code := range answers {
			require.Equal(t, kerr.NotCoordinator.Code, code, name)
		}
	})
}
