package config

import (
	"slices"
	"strconv"
)

// TopicSettings is what the broker acts on of a topic's effective settings. Times are in
// ms, sizes in bytes, as the settings themselves.
type TopicSettings struct {
	Compact, Delete        bool
	CompressionType        string // "producer" or a codec
	CompressionLevel       int    // of that codec
	DeleteRetentionMs      int64
	FileDeleteDelayMs      int64
	FlushMessages, FlushMs int64
	IndexIntervalBytes     int
	MaxCompactionLagMs     int64
	MinCompactionLagMs     int64
	MaxMessageBytes        int
	MaxDecompressedBytes   int64
	LogAppendTime          bool
	TimestampBeforeMaxMs   int64
	TimestampAfterMaxMs    int64
	MinCleanableDirtyRatio float64
	MinInsyncReplicas      int
	RetentionBytes         int64
	RetentionMs            int64
	SegmentBytes           int64
	SegmentIndexBytes      int
	SegmentMs              int64
	SegmentJitterMs        int64
	UncleanLeaderElection  bool
}

// Topic is the effective settings of a topic whose own ones are l.Own.
func (l Layers) Topic() TopicSettings {
	str := func(name string) string { return l.value(Topic(), name) }
	num := l.topicInt
	ratio, _ := strconv.ParseFloat(str("min.cleanable.dirty.ratio"), 64)
	policy := Split(str("cleanup.policy"))
	s := TopicSettings{
		Compact: slices.Contains(policy, "compact"), Delete: slices.Contains(policy, "delete"),
		CompressionType:   str("compression.type"),
		DeleteRetentionMs: num("delete.retention.ms"), FileDeleteDelayMs: num("file.delete.delay.ms"),
		FlushMessages: num("flush.messages"), FlushMs: num("flush.ms"),
		IndexIntervalBytes: int(num("index.interval.bytes")),
		MaxCompactionLagMs: num("max.compaction.lag.ms"), MinCompactionLagMs: num("min.compaction.lag.ms"),
		MaxMessageBytes: int(num("max.message.bytes")), MaxDecompressedBytes: num("max.decompressed.message.bytes"),
		LogAppendTime:        str("message.timestamp.type") == "LogAppendTime",
		TimestampBeforeMaxMs: num("message.timestamp.before.max.ms"), TimestampAfterMaxMs: num("message.timestamp.after.max.ms"),
		MinCleanableDirtyRatio: ratio, MinInsyncReplicas: int(num("min.insync.replicas")),
		RetentionBytes: num("retention.bytes"), RetentionMs: num("retention.ms"),
		SegmentBytes: num("segment.bytes"), SegmentIndexBytes: int(num("segment.index.bytes")),
		SegmentMs: num("segment.ms"), SegmentJitterMs: num("segment.jitter.ms"),
		UncleanLeaderElection: str("unclean.leader.election.enable") == "true",
	}
	switch s.CompressionType {
	case "gzip", "lz4", "zstd":
		s.CompressionLevel = int(num("compression." + s.CompressionType + ".level"))
	}
	return s
}
