package handler

import (
	"fmt"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// privateTable is what the front door serves beside Kafka's APIs, by key. No listener has these rows.
func (h *handlers) privateTable() map[int16]func(*call.Call) {
	return map[int16]func(*call.Call){
		private.KeyReadDocuments:  h.readDocuments,
		private.KeyWriteDocuments: h.writeDocuments,
		private.KeyLease:          h.Leases.Lease,
		private.KeySettle:         h.Leases.Settle,
		private.KeyListLeases:     h.Leases.ListLeases,
		private.KeyCountQueue:     h.Leases.CountQueue,
		private.KeyRegisterGroup:  h.registerGroup,
		private.KeyDelay:          h.delay,
		private.KeyCancelDelays:   h.cancelDelays,
	}
}

// privateRows makes rows of the private table.
func (r *Registry) privateRows(table map[int16]func(*call.Call)) map[int16]*call.API {
	rows := make(map[int16]*call.API, len(table))
	for key, handle := range table {
		rows[key] = &call.API{Key: key, Name: private.Name(key), Handle: r.guarded(func(c *call.Call) {
			if !ofService(c) {
				c.Reply(call.Response{Close: true}) // never from a client: none gets here
				return
			}
			handle(c)
		})}
		if rows[key].Name == "" {
			panic(fmt.Sprintf("key %d is not private", key)) // broken invariant: our own table
		}
	}
	return rows
}
