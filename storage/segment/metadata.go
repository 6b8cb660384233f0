package segment

import (
	"bytes"
	"fmt"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// MetadataFile is the name of the file that says which topic a partition's directory belongs to.
const MetadataFile = "partition.metadata"

// Metadata is what the file holds.
type Metadata struct {
	Topic uuid.ID
	// Gaps: offsets may be missing between batches, because the log was compacted or copied from one that was. Where it is
	// false, recovery takes a gap for damage.
	Gaps bool
}

// Encode is the content of the metadata file: Kafka's lines "version: 0" and "topic_id: " with the id, and where there are gaps a
// third one, "gaps: true", which Kafka does not read.
func (m Metadata) Encode() []byte {
	b := fmt.Appendf(nil, "version: 0\ntopic_id: %s", m.Topic)
	if m.Gaps {
		b = append(b, "\ngaps: true"...)
	}
	return b
}

// DecodeMetadata reads the metadata file. Errors wrap ErrSideFile, ErrNewerVersion.
func DecodeMetadata(data []byte) (Metadata, error) {
	fields := map[string]string{}
	for line := range bytes.Lines(data) {
		name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		if ok {
			fields[string(name)] = string(value)
		}
	}
	switch version := fields["version"]; version {
	case "0":
	case "":
		return Metadata{}, fmt.Errorf("%w: partition metadata without a version", ErrSideFile)
	default:
		return Metadata{}, fmt.Errorf("%w: partition metadata of version %.20q", ErrNewerVersion, version)
	}
	id, err := uuid.Parse(fields["topic_id"])
	if err != nil {
		return Metadata{}, fmt.Errorf("%w: partition metadata: %w", ErrSideFile, err)
	}
	return Metadata{Topic: id, Gaps: fields["gaps"] == "true"}, nil
}
