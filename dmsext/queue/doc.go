// Package queue is what a queue, a consumer group, a message and its handle are, in terms of the broker's front door.
//
// It owns the documents that say which queues there are, the topics and share groups behind them, and the format of handles. It
// knows neither HTTP nor who asks: package rest does, and calls it with the project that the caller may use. It has no
// goroutines and no state but caches of what the broker keeps; services on several brokers work side by side.
//
// # Documents
//
// Values are JSON. Every change is one transaction under conditions on revisions, so that no two requests, wherever they are
// served, can together break a limit or the uniqueness of a name.
//
//	queues        <project>/<queue id>    the queue with its groups (queueDoc)
//	queue-names   <project>/<queue name>  the queue's id, a JSON string
//	queue-names   <project>/              a number; every creation in the project changes it, so that creations that count queues exclude each other
//	queue-groups  <group id>              {"project":...,"queue":...}
//	tags          <project>/<queue id>    the queue's tags (tagsDoc)
//	secrets       handles                 the keys that authenticate handles (secretsDoc)
//
// A queue is there when its document is; then its topic is made and the document learns the topic's id. A crash in between is
// repaired by whoever uses the queue next, and by Resume. Groups are made in the same way. Deletion marks the document first:
// from then on nobody finds the queue or group. Then groups, delayed messages, topics and settings go, and the documents last, so
// that Resume, or the same deletion asked for again, can go on with one that was interrupted.
//
// # Handles
//
// A handle is the URL-safe base64, without padding, of
//
//	 0  version, 1
//	 1  generation of the key
//	 2  kind: 0 a message of the queue, 1 a dead letter
//	 3  queue id, 16 bytes
//	19  group id, 16 bytes
//	35  lease holder, 16 bytes
//	51  unsigned varints: partition, offset, delivery
//	 .  the first 16 bytes of HMAC-SHA256 over the project's name, a zero byte, and all of the above
package queue
