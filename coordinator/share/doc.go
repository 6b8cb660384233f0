// Package share is the share coordinator: it keeps what became of records for share groups.
package share
