package identity

import "sync"

// cached bounds how many decoded documents are kept.
const cached = 8192

// cache keeps decoded documents by name, each with its revision: one of another revision is not found, so that nothing here
// needs to be told of a change. Values are shared and immutable. The zero value is ready.
type cache struct {
	mu      sync.RWMutex
	entries map[cacheKey]cacheEntry
}

type cacheKey struct{ kind, name string }

type cacheEntry struct {
	revision int64
	value    any
}

func (c *cache) get(kind, name string, revision int64) any {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e, ok := c.entries[cacheKey{kind, name}]; ok && e.revision == revision {
		return e.value
	}
	return nil
}

func (c *cache) put(kind, name string, revision int64, value any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = map[cacheKey]cacheEntry{}
	}
	key := cacheKey{kind, name}
	if _, known := c.entries[key]; !known && len(c.entries) >= cached {
		for victim := range c.entries { // any one: what is in use comes back with the next read
			delete(c.entries, victim)
			break
		}
	}
	c.entries[key] = cacheEntry{revision, value}
}
