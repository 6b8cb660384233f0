package group

import (
	"math"
	"time"
)

// Config is the broker's settings that coordinators of groups go by, by Kafka's names in
// the comments. The zero value of a field stands for Kafka's default, except where said.
type Config struct {
	MinSessionTimeout time.Duration // group.min.session.timeout.ms, 6 s; negative: no least
	MaxSessionTimeout time.Duration // group.max.session.timeout.ms, 30 min
	// InitialRebalanceDelay is group.initial.rebalance.delay.ms; negative stands for the
	// default of 3 s, zero is zero.
	InitialRebalanceDelay time.Duration
	MaxSize               int           // group.max.size, 2^31-1 members
	OffsetMetadataMaxSize int           // offset.metadata.max.bytes, 4096 UTF-16 code units, as Kafka counts them; negative: none
	OffsetsRetention      time.Duration // offsets.retention.minutes, 7 days
	RetentionInterval     time.Duration // offsets.retention.check.interval.ms, 10 min
	CommitTimeout         time.Duration // offsets.commit.timeout.ms, 5 s

	ShareMaxSize int // group.share.max.size, 200 members

	// ShareMaxTopics bounds what a member of a share group subscribes to; Kafka has no such limit. Default 10,000.
	ShareMaxTopics int
	// MaxPendingMembers bounds the ids handed out in one group to members that have not
	// come back with them yet; Kafka has no such limit. Default 10,000.
	MaxPendingMembers int
	// MaxGroups bounds the groups with members, or ids handed out, in one partition of
	// __consumer_offsets; Kafka has no such limit. Default 100,000.
	MaxGroups int
}

// newMemberTimeout is how long a new member, which has no session yet because it does not
// know its id, may wait for its first rebalance.
const newMemberTimeout = 5 * time.Minute

func (c Config) withDefaults() Config {
	def(&c.MinSessionTimeout, 6*time.Second)
	def(&c.MaxSessionTimeout, 30*time.Minute)
	if c.InitialRebalanceDelay < 0 {
		c.InitialRebalanceDelay = 3 * time.Second
	}
	def(&c.MaxSize, math.MaxInt32)
	def(&c.OffsetMetadataMaxSize, 4096)
	c.OffsetMetadataMaxSize = max(c.OffsetMetadataMaxSize, 0)
	def(&c.OffsetsRetention, 7*24*time.Hour)
	def(&c.RetentionInterval, 10*time.Minute)
	def(&c.CommitTimeout, 5*time.Second)
	def(&c.ShareMaxSize, 200)
	def(&c.ShareMaxTopics, 10_000)
	def(&c.MaxPendingMembers, 10_000)
	def(&c.MaxGroups, 100_000)
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
