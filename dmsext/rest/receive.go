package rest

import (
	"net/http"
	"slices"
	"time"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// Ranges and defaults of section 4.2.
const (
	standardWait    = 3  // seconds
	mostWait        = 60 // seconds
	standardAckWait = 30 // seconds
	leastAckWait    = 15 // seconds
	mostAckWait     = 300
)

// receive is GET messages (4.2).
func (x *exchange) receive() (int, error) {
	want, err := readReceive(x.r.URL.RawQuery, false)
	if err != nil {
		return 0, err
	}
	return x.poll(want)
}

// receiveDead is GET deadletters (5): the same without labels.
func (x *exchange) receiveDead() (int, error) {
	want, err := readReceive(x.r.URL.RawQuery, true)
	if err != nil {
		return 0, err
	}
	return x.poll(want)
}

// receiveKeys are the query's, the repeatable one first; those of dead letters are all but the labels'.
var (
	receiveKeys = []string{"tag", "max_msgs", "time_wait", "ack_wait", "tag_type"}
	deadKeys    = []string{"", "max_msgs", "time_wait", "ack_wait"}
)

func readReceive(query string, deadLetters bool) (queue.Receive, error) {
	r := queue.Receive{Max: mostMessages, Wait: standardWait * time.Second, AckWait: standardAckWait * time.Second, DeadLetters: deadLetters}
	keys := receiveKeys
	if deadLetters {
		keys = deadKeys
	}
	err := readQuery(query, 1, keys, func(at int, value string) (err error) {
		n := 0
		switch keys[at] {
		case "max_msgs":
			r.Max, err = within("max_msgs", value, 1, mostMessages, queue.CodeMaxMessages)
		case "time_wait":
			n, err = within("time_wait", value, 1, mostWait, queue.CodeTimeWait)
			r.Wait = time.Duration(n) * time.Second
		case "ack_wait":
			n, err = within("ack_wait", value, leastAckWait, mostAckWait, queue.CodeAckWait)
			r.AckWait = time.Duration(n) * time.Second
		case "tag":
			r.Labels, err = addLabel(r.Labels, value)
		case "tag_type":
			r.AllLabels, err = labelType(value)
		}
		return err
	})
	return r, err
}

// addLabel collects the labels that are asked for; one that stands twice is one.
func addLabel(labels []string, value string) ([]string, error) {
	if slices.Contains(labels, value) {
		return labels, nil
	}
	if len(labels) == mostLabels {
		return nil, refuse(queue.CodeQuery, "The URL has invalid parameters: more than %d tags.", mostLabels)
	}
	return append(labels, value), nil
}

func labelType(value string) (all bool, err error) {
	if value != "or" && value != "and" {
		return false, refuse(codeTagType, "The tag_type must be or / and, not %q.", clip(value))
	}
	return value == "and", nil
}

// appendReceived appends the answer: a bare array.
func appendReceived(b []byte, received []queue.Received) []byte {
	b = append(b, '[')
	for i := range received {
		r := &received[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"message":{"body":`...), r.Body...)
		b = append(b, `,"attributes":{`...)
		for j, a := range r.Attributes {
			if j > 0 {
				b = append(b, ',')
			}
			b = append(append(appendText(b, a.Name), ':'), a.Value...)
		}
		b = append(b, '}')
		if len(r.Labels) > 0 {
			b = append(b, `,"tags":[`...)
			for j, label := range r.Labels {
				if j > 0 {
					b = append(b, ',')
				}
				b = appendText(b, label)
			}
			b = append(b, ']')
		}
		b = append(appendText(append(b, `},"handler":`...), r.Handle), '}')
	}
	return append(b, ']')
}

// receivedSize is about how many bytes appendReceived takes.
func receivedSize(received []queue.Received) int {
	n := 2
	for i := range received {
		n += len(received[i].Body) + len(received[i].Handle) + 64
		for _, a := range received[i].Attributes {
			n += len(a.Name) + len(a.Value) + 4
		}
		n += 70 * len(received[i].Labels)
	}
	return n
}

// answered is the status of a retrieval that went well.
const answered = http.StatusOK
