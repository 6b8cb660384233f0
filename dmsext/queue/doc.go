// Package queue is what a queue, a consumer group, a message and its handle are, in terms of the broker's front door.
//
// It owns the documents that say which queues there are (protocol/private), the topics and share groups behind them, and the
// format of handles. It knows neither HTTP nor who asks: package rest does, and calls it with the project that the caller may
// use.
package queue
