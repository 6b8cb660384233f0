package share

import (
	"bytes"
	"slices"
	"strings"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// table is rows in memory.
type table map[string][]byte

var _ runtime.Writer = table{}

// Get implements runtime.Reader.
func (t table) Get(key []byte) ([]byte, bool, error) {
	value, ok := t[string(key)]
	return value, ok, nil
}

// Scan implements runtime.Reader.
func (t table) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	var keys []string
	for key := range t {
		if strings.HasPrefix(key, string(prefix)) && key >= string(from) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if !fn([]byte(key), t[key]) {
			return nil
		}
	}
	return nil
}

// Set implements runtime.Writer.
func (t table) Set(key, value []byte) error {
	t[string(key)] = bytes.Clone(value)
	return nil
}

// Delete implements runtime.Writer.
func (t table) Delete(key []byte) error {
	delete(t, string(key))
	return nil
}
