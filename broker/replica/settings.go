package replica

import (
	"strconv"
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/log"
)

// settings is what is in force for a topic: its own settings and what of the broker's concerns its logs. Topics without
// settings of their own share one.
type settings struct {
	config.TopicSettings
	producerExpiryMs int64 // producer.id.expiration.ms
}

// Layers is the settings that stand behind a topic ("" for none), as an image has them.
func Layers(image *cluster.Image, broker int32, start map[string]string, topic string) config.Layers {
	l := config.Layers{
		OneBroker:  image.Config("broker", strconv.Itoa(int(broker))),
		AllBrokers: image.Config("broker", cluster.DefaultName),
		Start:      start,
	}
	if topic != "" {
		l.Own = image.Config("topic", topic)
	}
	return l
}

// effective works out topics' settings as of one image.
type effective struct {
	image  *cluster.Image
	behind config.Layers
	shared *settings // of topics without settings of their own
}

func (m *Manager) effective(image *cluster.Image) *effective {
	return &effective{image: image, behind: Layers(image, m.o.BrokerID, m.o.Start, "")}
}

func (e *effective) of(topic string) *settings {
	l := e.behind
	l.Own = e.image.Config("topic", topic)
	if len(l.Own) == 0 && e.shared != nil {
		return e.shared
	}
	s := &settings{l.Topic(), l.BrokerInt("producer.id.expiration.ms")}
	if len(l.Own) == 0 {
		e.shared = s
	}
	return s
}

// reconfigure brings partitions up to date with what differs between two images.
func (m *Manager) reconfigure(old, now *cluster.Image, e *effective) {
	var names []string
	all := false
	for kind, name := range now.ConfigChanges(old) {
		switch {
		case kind == "topic":
			names = append(names, name)
		case kind == "broker" && (name == cluster.DefaultName || name == strconv.Itoa(int(m.o.BrokerID))):
			all = true
		}
	}
	if !all {
		for _, name := range names {
			if t := now.Topic(name); t != nil {
				m.eachOf(t.ID, func(p *Partition) bool { p.apply(e.of(name)); return true })
			}
		}
		return
	}
	m.Each(func(p *Partition) bool { p.apply(e.of(p.Topic)); return true })
}

// internalMessageBytes bounds a coordinator's batch.
const internalMessageBytes = 32 << 20

// log is the settings as logs take them. Internal topics hold records as large as their coordinators need (durability rules
// of coordinators, 5).
func (s *settings) log(internal bool) log.Config {
	c := log.DefaultConfig()
	c.SegmentBytes, c.SegmentTime, c.SegmentJitter = s.SegmentBytes, millis(s.SegmentMs), millis(s.SegmentJitterMs)
	if s.Compact {
		c.SegmentTime = min(c.SegmentTime, millis(s.MaxCompactionLagMs)) // the active segment is never compacted
	}
	c.IndexBytes, c.IndexInterval = s.SegmentIndexBytes, s.IndexIntervalBytes
	c.Delete, c.Compact = s.Delete, s.Compact
	c.RetentionTime, c.RetentionBytes, c.DeleteDelay = millis(s.RetentionMs), s.RetentionBytes, millis(s.FileDeleteDelayMs)
	c.MinDirtyRatio, c.DeleteRetention = s.MinCleanableDirtyRatio, millis(s.DeleteRetentionMs)
	c.MinCompactionLag, c.MaxCompactionLag = millis(s.MinCompactionLagMs), millis(s.MaxCompactionLagMs)
	c.MaxMessageBytes, c.MaxRecordBytes, c.LogAppendTime = s.MaxMessageBytes, int(s.MaxDecompressedBytes), s.LogAppendTime
	c.TimestampBefore, c.TimestampAfter = millis(s.TimestampBeforeMaxMs), millis(s.TimestampAfterMaxMs)
	if internal {
		c.MaxMessageBytes = max(c.MaxMessageBytes, internalMessageBytes)
	}
	if compression, ok := record.ParseCompression(s.CompressionType); ok {
		compression.Level = s.CompressionLevel
		c.Compression = compression
	}
	c.ProducerExpiry = millis(s.producerExpiryMs)
	return c
}

// millis is a number of ms as a duration; what is too long for one is the longest there is.
func millis(n int64) time.Duration {
	const longest = time.Duration(1<<63 - 1)
	if n > int64(longest/time.Millisecond) {
		return longest
	}
	return time.Duration(n) * time.Millisecond
}
