package queue

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// TestAnAttributeIsThereOnce: record headers may repeat a name, which only a Kafka client can have written; a JSON object may not.
func TestAnAttributeIsThereOnce(t *testing.T) {
	headers := []private.Header{
		{Key: private.AttributePrefix + "a", Value: []byte(`1`)}, {Key: private.AttributePrefix + "b", Value: []byte(`true`)}, {Key: private.AttributePrefix + "a", Value: []byte(`"last"`)},
	}
	got := received(&queue{}, 0, &private.LeasedRecord{Value: []byte(`1`), Headers: headers})
	require.Equal(t, []Attribute{{"b", json.RawMessage(`true`)}, {"a", json.RawMessage(`"last"`)}}, got.Attributes)
}

func TestNoMessageIsDueAFractionOfAMillisecondEarly(t *testing.T) {
	for at, want := range map[time.Duration]int64{0: 5000, 1: 5001, time.Millisecond - 1: 5001, time.Millisecond: 5001} {
		require.Equal(t, want, dueMillis(time.UnixMilli(0).Add(at), 5*time.Second+900*time.Microsecond), "sent %v past a millisecond", at)
	}
}
