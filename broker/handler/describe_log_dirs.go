package handler

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
)

// DescribeLogDirs (key 35), versions 1 to 5: v2 is flexible, v3 has an error of the whole answer, v4 the size of the file system
// and what is left of it, v5 whether the directory takes new partitions. A broker has one directory; null topics are all it
// holds, and what it does not hold is left out.
func (h *handlers) describeLogDirs(c *call.Call) {
	req := c.Request.(*kmsg.DescribeLogDirsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir = h.Disk.Path()
	if total, usable, err := h.Disk.Space(); err != nil {
		h.Log.Warn("size of the data directory's file system not known", zap.Error(err))
	} else {
		dir.TotalBytes, dir.UsableBytes = total, usable
	}
	held := h.heldPartitions(req.Topics)
	for len(held) > 0 {
		n := slices.IndexFunc(held, func(p *replica.Partition) bool { return p.ID != held[0].ID })
		if n < 0 {
			n = len(held)
		}
		dir.Topics = append(dir.Topics, sizesOf(held[:n]))
		held = held[n:]
	}
	resp.Dirs = append(resp.Dirs, dir)
	c.Reply(call.Response{Message: resp})
}

func sizesOf(partitions []*replica.Partition) kmsg.DescribeLogDirsResponseDirTopic {
	out := kmsg.NewDescribeLogDirsResponseDirTopic()
	out.Topic = partitions[0].Topic
	out.Partitions = make([]kmsg.DescribeLogDirsResponseDirTopicPartition, len(partitions))
	for i, p := range partitions {
		out.Partitions[i].Partition, out.Partitions[i].Size = p.Number, p.SizeBytes()
	}
	return out
}

// heldPartitions is what this broker holds of the topics asked for, by topic and number; of all for null topics.
func (h *handlers) heldPartitions(asked []kmsg.DescribeLogDirsRequestTopic) []*replica.Partition {
	var held []*replica.Partition
	if asked == nil {
		h.Replicas.Each(func(p *replica.Partition) bool {
			held = append(held, p)
			return true
		})
	}
	image := h.Cluster.Image()
	for i := range asked {
		t := image.Topic(asked[i].Topic)
		for _, n := range asked[i].Partitions {
			if p, err := h.partition(t, n); err == nil {
				held = append(held, p)
			}
		}
	}
	slices.SortFunc(held, func(a, b *replica.Partition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), slices.Compare(a.ID[:], b.ID[:]), cmp.Compare(a.Number, b.Number))
	})
	return slices.Compact(held)
}
