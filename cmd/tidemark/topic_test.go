package main

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

func TestARefusalIsSaidOnce(t *testing.T) {
	require.EqualError(t, refused("t", kerr.TopicAlreadyExists, "Topic 't' already exists."), "topic t: TOPIC_ALREADY_EXISTS: Topic 't' already exists.")
	require.EqualError(t, refused("t", kerr.UnknownTopicOrPartition, ""), "topic t: UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition.")
	require.EqualError(t, refused("t", io.EOF, "what"), "topic t: EOF")
}
