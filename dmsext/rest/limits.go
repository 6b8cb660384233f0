package rest

import (
	"fmt"
	"time"
)

// MessageBytes is how large a message may be, and all messages of one call together (DMS reference 4.1 and D27).
const MessageBytes = 512 << 10

// What a body may have by the kind of its call. Room for messages leaves some for the JSON around them.
const (
	sendBytes    = MessageBytes + 64<<10
	ackBytes     = 256 << 10
	controlBytes = 64 << 10
)

// Limits bound what clients can make the listener hold. Zero values stand for the defaults.
type Limits struct {
	Connections int           // open at once; 20000
	LongPolls   int           // retrievals that wait at once; 20000
	HeaderBytes int           // of a request line with its headers; 16 KiB
	HeaderTime  time.Duration // for reading them; 10s
	BodyTime    time.Duration // for reading a body; 30s
	WriteTime   time.Duration // for writing an answer; 60s
	IdleTime    time.Duration // of a connection between requests; 2m
	BodyMemory  int64         // bytes of all request bodies being read or worked on; 64 MiB
	ParkAfter   time.Duration // a retrieval that waits longer gives its buffers back; 100ms, negative: never
}

// longestPoll is the highest time_wait (section 4.2).
const longestPoll = 60 * time.Second

func (l Limits) withDefaults() Limits {
	number := func(n *int, standard int) {
		if *n == 0 {
			*n = standard
		}
	}
	duration := func(d *time.Duration, standard time.Duration) {
		if *d == 0 {
			*d = standard
		}
	}
	number(&l.Connections, 20000)
	number(&l.LongPolls, 20000)
	number(&l.HeaderBytes, 16<<10)
	duration(&l.HeaderTime, 10*time.Second)
	duration(&l.BodyTime, 30*time.Second)
	duration(&l.WriteTime, time.Minute)
	duration(&l.IdleTime, 2*time.Minute)
	duration(&l.ParkAfter, 100*time.Millisecond)
	if l.BodyMemory == 0 {
		l.BodyMemory = 64 << 20
	}
	return l
}

// validate lists what makes no sense.
func (l Limits) validate() error {
	switch {
	case l.Connections < 0 || l.LongPolls < 0 || l.HeaderBytes < 0:
		return fmt.Errorf("limits of the HTTP listener: connections %d, long polls %d and header bytes %d must be positive", l.Connections, l.LongPolls, l.HeaderBytes)
	case l.HeaderTime < 0 || l.BodyTime < 0 || l.WriteTime < 0 || l.IdleTime < 0:
		return fmt.Errorf("limits of the HTTP listener: times must be positive: header %s, body %s, write %s, idle %s", l.HeaderTime, l.BodyTime, l.WriteTime, l.IdleTime)
	case l.BodyMemory != 0 && l.BodyMemory <= sendBytes:
		return fmt.Errorf("limits of the HTTP listener: body memory of %d bytes does not hold one request of %d", l.BodyMemory, sendBytes)
	}
	return nil
}
