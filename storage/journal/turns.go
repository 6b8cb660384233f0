package journal

import "time"

// Own syncs keep a disk busy for milliseconds each, and a round that comes meanwhile waits for what is under way. So while
// rounds come in for logs that have none of their own, own syncs take turns, and after each the disk is left to the rounds
// for a while. Bulk logs lose little by that, because a sync that begins later covers more; with nobody else there they
// lose nothing.
const (
	bulkFor   = time.Second           // a log is a bulk log for so long after an append that was too much for a round
	roundsFor = 20 * time.Millisecond // rounds are coming in for so long after an append to a log that is none
	restTimes = 3                     // the disk is left to rounds for so many times as long as the own sync took
	restMost  = 20 * time.Millisecond
)

// appendedToRoundLocked takes note of an append that a round carries.
func (f *Flusher) appendedToRoundLocked(s *Stream) {
	if now := time.Now(); now.Sub(s.bulkAt) > bulkFor {
		f.smallAt = now
	}
}

// sharing tells whether own syncs have to leave room for rounds.
func (f *Flusher) sharing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.smallAt) < roundsFor
}

// rest leaves the disk to rounds after an own sync that took so long.
func (f *Flusher) rest(took time.Duration) {
	select {
	case <-time.After(min(restTimes*took, restMost)):
	case <-f.closing:
	case <-f.failed:
	}
}
