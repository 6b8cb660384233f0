package record

// layout is where the parts of one record lie in its body, the bytes after its size.
type layout struct {
	timestampDelta int64
	offsetDelta    int32
	keySize        int32 // negative for none
	valueSize      int32
	headers        int32
	keyAt, valueAt int
	headersAt      int // the first header, after their number
}

// parse reads a record's body, which must end where its parts end. What it leaves in l is only good if it returns true.
func (l *layout) parse(p []byte) bool {
	if len(p) == 0 {
		return false
	}
	var u uint32
	i := 1 // attributes mean nothing
	if i < len(p) && p[i] < 0x80 {
		l.timestampDelta = zigzag64(uint64(p[i]))
		i++
	} else {
		var u64 uint64
		u64, i = uvarint64(p, i)
		l.timestampDelta = zigzag64(u64)
	}
	u, i = uvarint32(p, i)
	l.offsetDelta = zigzag32(u)
	u, i = uvarint32(p, i)
	l.keySize, l.keyAt = zigzag32(u), i
	if l.keySize > 0 {
		i += int(l.keySize)
	}
	u, i = uvarint32(p, i)
	l.valueSize, l.valueAt = zigzag32(u), i
	if l.valueSize > 0 {
		i += int(l.valueSize)
	}
	u, i = uvarint32(p, i)
	l.headers, l.headersAt = zigzag32(u), i
	if l.headers == 0 {
		return i == len(p)
	}
	return skipHeaders(p, i, l.headers) == len(p)
}

// scan is parse for those who want to know less: it leaves nothing in memory, which makes it twice as fast. The record is well
// formed if ok.
func scan(p []byte) (timestampDelta int64, offsetDelta, keySize int32, ok bool) {
	// Nearly always the parts before the value are numbers of one byte, or two for the value's size.
	if len(p) < 6 {
		return 0, 0, 0, false
	}
	var u uint32
	i := 2 // attributes mean nothing
	if p[1] < 0x80 {
		timestampDelta = zigzag64(uint64(p[1]))
	} else {
		var u64 uint64
		u64, i = uvarint64(p, 1)
		timestampDelta = zigzag64(u64)
	}
	u, i = uvarint32(p, i)
	offsetDelta = zigzag32(u)
	u, i = uvarint32(p, i)
	if keySize = zigzag32(u); keySize > 0 {
		i += int(keySize)
	}
	u, i = uvarint32(p, i)
	if value := zigzag32(u); value > 0 {
		i += int(value)
	}
	if i == len(p)-1 && p[i] == 0 {
		return timestampDelta, offsetDelta, keySize, true
	}
	u, i = uvarint32(p, i)
	return timestampDelta, offsetDelta, keySize, skipHeaders(p, i, zigzag32(u)) == len(p)
}

// skipHeaders returns the position after n headers that begin at p[i], or broken.
func skipHeaders(p []byte, i int, n int32) int {
	if i > len(p) || n < 0 || int64(n) > int64(len(p)-i)/2 {
		return broken
	}
	var u uint32
	for ; n > 0; n-- {
		u, i = uvarint32(p, i)
		name := zigzag32(u)
		if name < 0 {
			return broken
		}
		u, i = uvarint32(p, i+int(name))
		if value := zigzag32(u); value > 0 {
			i += int(value)
		}
		if i > len(p) {
			return broken
		}
	}
	return i
}
