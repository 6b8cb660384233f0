package rest

import (
	"net/http"
	"slices"
	"strings"
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

func readReceive(query string, deadLetters bool) (queue.Receive, error) {
	r := queue.Receive{Max: mostMessages, DeadLetters: deadLetters}
	wait, ackWait := standardWait, standardAckWait
	if query != "" {
		keys := []queryKey{
			within("max_msgs", &r.Max, 1, mostMessages, queue.CodeMaxMessages),
			within("time_wait", &wait, 1, mostWait, queue.CodeTimeWait),
			within("ack_wait", &ackWait, leastAckWait, mostAckWait, queue.CodeAckWait),
		}
		if !deadLetters {
			keys = append(keys, label(&r.Labels), labelType(&r.AllLabels))
		}
		if err := readQuery(query, keys...); err != nil {
			return r, err
		}
	}
	r.Wait, r.AckWait = time.Duration(wait)*time.Second, time.Duration(ackWait)*time.Second
	return r, nil
}

// label collects the labels that are asked for; one that stands twice is one.
func label(into *[]string) queryKey {
	return queryKey{name: "tag", many: true, set: func(value string) error {
		if slices.Contains(*into, value) {
			return nil
		}
		if len(*into) == mostLabels {
			return refuse(queue.CodeQuery, "The URL has invalid parameters: more than %d tags.", mostLabels)
		}
		*into = append(*into, strings.Clone(value)) // the URL would live as long as the poll
		return nil
	}}
}

func labelType(all *bool) queryKey {
	return queryKey{name: "tag_type", set: func(value string) error {
		if value != "or" && value != "and" {
			return refuse(codeTagType, "The tag_type must be or / and, not %q.", clip(value))
		}
		*all = value == "and"
		return nil
	}}
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

// tooManyPolls refuses a retrieval that would be one too many to wait.
func (x *exchange) tooManyPolls() error {
	if x.server.polls.Load() < int64(x.server.limits.LongPolls) {
		return nil
	}
	return busy("Too many retrievals are waiting; try again later.")
}

// answered is the status of a retrieval that went well.
const answered = http.StatusOK
