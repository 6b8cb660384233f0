package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"runtime"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
)

func TestCodecsReadEachOther(t *testing.T) {
	rnd := seeded(t)
	for _, size := range []int{0, 1, 100, 32 << 10, 64<<10 + 1, 300_000} {
		src := make([]byte, size)
		for i := range src {
			src[i] = byte(rnd.IntN(1 + i%100))
		}
		for c := None; c < numCodecs; c++ {
			ours, err := Compress([]byte("before"), c, 0, src)
			require.NoError(t, err)
			require.Equal(t, "before", string(ours[:6]))
			if size > 0 {
				require.True(t, bytes.Equal(src, kgoDecompress(t, c, ours[6:])), "%v of %d bytes", c, size)
			}
			for _, packed := range [][]byte{ours[6:], kgoCompress(t, c, src)} {
				out, err := Decompress([]byte("before"), c, packed, 0)
				if size == 0 && len(packed) == 0 && c != None {
					continue // an empty payload is one of no codec
				}
				require.NoError(t, err, "%v of %d bytes", c, size)
				require.Equal(t, "before", string(out[:6]))
				require.True(t, bytes.Equal(src, out[6:]), "%v of %d bytes", c, size)
			}
		}
	}
}

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		codec Codec
		level int
		ok    bool
	}{
		{Gzip, -1, true}, {Gzip, 0, false}, {Gzip, 1, true}, {Gzip, 9, true}, {Gzip, 10, false}, {Gzip, -2, false},
		{LZ4, 0, false}, {LZ4, 1, true}, {LZ4, 17, true}, {LZ4, 18, false}, {LZ4, -1, false},
		{Zstd, -131073, false}, {Zstd, -131072, true}, {Zstd, 0, true}, {Zstd, 22, true}, {Zstd, 23, false},
		{Snappy, 1, false}, {None, 1, false},
	} {
		require.Equal(t, c.ok, CheckLevel(c.codec, c.level), "%v level %d", c.codec, c.level)
	}
	src := encodeRecords(filled(500, 100))
	for c := Gzip; c < numCodecs; c++ {
		r, _ := Levels(c)
		for level := max(r.Min, -3); level <= r.Max; level++ {
			packed, err := Compress(nil, c, level, src)
			require.NoError(t, err)
			require.Equal(t, src, kgoDecompress(t, c, packed), "%v level %d", c, level)
			require.Less(t, len(packed), len(src)/2)
		}
	}
}

func TestCompressionTypeNames(t *testing.T) {
	for name, want := range map[string]Compression{
		"producer": {}, "uncompressed": {Force: true}, "gzip": {Force: true, Codec: Gzip}, "snappy": {Force: true, Codec: Snappy},
		"lz4": {Force: true, Codec: LZ4}, "zstd": {Force: true, Codec: Zstd},
	} {
		got, ok := ParseCompression(name)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	for _, name := range []string{"", "none", "GZIP", "lz5"} {
		_, ok := ParseCompression(name)
		require.False(t, ok, name)
	}
	require.Equal(t, "zstd", Zstd.String())
	require.Equal(t, "codec 6", Codec(6).String())
	_, err := Compress(nil, 6, 0, nil)
	require.ErrorIs(t, err, ErrUnknownCodec)
	_, err = Decompress(nil, 6, nil, 0)
	require.ErrorIs(t, err, ErrUnknownCodec)
}

func TestBombsStopAtTheLimit(t *testing.T) {
	zeros := make([]byte, 8<<20)
	for c := None; c < numCodecs; c++ {
		bomb, err := Compress(nil, c, 0, zeros)
		require.NoError(t, err)
		out, err := Decompress(nil, c, bomb, 1<<20)
		require.ErrorIs(t, err, ErrExpansion, "%v", c)
		require.Empty(t, out)
		_, err = Decompress(nil, c, bomb, int64(len(zeros)))
		require.NoError(t, err, "%v", c)
		if c == None {
			continue
		}
		// One record with a value of 8 MiB.
		b := sent{recs: filled(1, 8<<20), codec: c}.encode(t)
		r := DefaultRules(t0)
		r.MaxExpansion = 1 << 20
		_, err = Validate(b, r)
		require.ErrorIs(t, err, ErrExpansion, "%v", c)
		reader, err := b.Records(1 << 20)
		require.NoError(t, err)
		_, _, err = reader.Next()
		require.ErrorIs(t, err, ErrExpansion, "%v", c)
		_, _, again := reader.Next()
		require.Equal(t, err, again, "errors are final")
		reader.Close()
		_, err = Validate(b, DefaultRules(t0))
		require.NoError(t, err, "%v", c)
	}
}

func TestMemoryFollowsTheDataNotItsClaims(t *testing.T) {
	for name, c := range map[string]struct {
		codec Codec
		bytes []byte
	}{
		"snappy block that claims 1 GiB":             {Snappy, append(binary.AppendUvarint(nil, 1<<30), 0, 'a')},
		"framed snappy block that claims 1 GiB":      {Snappy, join(xerialHeader, []byte{0, 0, 0, 7}, append(binary.AppendUvarint(nil, 1<<30), 0, 'a'))},
		"framed snappy block of 2 GiB":               {Snappy, join(xerialHeader, []byte{0x7f, 0xff, 0xff, 0xff, 1, 2})},
		"zstd frame that claims 64 MiB":              {Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 4, 9, 0, 0, 'a'}},
		"zstd window of 128 MiB with nothing in it":  {Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x0b, 0, 0}},
		"zstd window of 1 GiB":                       {Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x0b, 0, 0}},
		"lz4 block of 4 MiB with one byte":           {LZ4, join(lz4Descriptor(0x60, 0x70), []byte{1, 0, 0, 0, 0xff})},
		"lz4 stored block that claims more than has": {LZ4, join(lz4Descriptor(0x60, 0x70), []byte{0, 0, 0x40, 0x80, 'a'})},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decompress(nil, c.codec, c.bytes, 0)
			require.ErrorIs(t, err, ErrBrokenData)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range 10 {
				_, _ = Decompress(nil, c.codec, c.bytes, 0)
			}
			runtime.ReadMemStats(&after)
			require.Less(t, (after.TotalAlloc-before.TotalAlloc)/10, uint64(2<<20))
		})
	}
}

func TestGzipMembersAndWhatFollows(t *testing.T) {
	one := mustGzip(t, "one,")
	for name, c := range map[string]struct {
		bytes []byte
		want  string
		err   error
	}{
		"two members":              {join(one, mustGzip(t, "two")), "one,two", nil},
		"an empty member between":  {join(one, mustGzip(t, ""), mustGzip(t, "two")), "one,two", nil},
		"bytes that are no member": {join(one, []byte("garbage that goes on for a while")), "one,", nil},
		"a cut member":             {join(one, mustGzip(t, "two")[:15]), "", ErrBrokenData},
		"cut":                      {one[:len(one)-1], "", ErrBrokenData},
		"cut header":               {one[:6], "", ErrBrokenData},
		"empty":                    {nil, "", ErrBrokenData},
		"checksum":                 {join(one[:len(one)-8], []byte{1, 2, 3, 4}, one[len(one)-4:]), "", ErrBrokenData},
	} {
		out, err := Decompress(nil, Gzip, c.bytes, 0)
		require.ErrorIs(t, err, c.err, name)
		require.Equal(t, c.want, string(out), name)
	}
}

func mustGzip(t *testing.T, s string) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := io.WriteString(w, s)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func TestSnappyFramings(t *testing.T) {
	bare := snappy.Encode(nil, []byte("bare block"))
	framed, err := Compress(nil, Snappy, 0, []byte("framed,"))
	require.NoError(t, err)
	repeat := s2.EncodeBetter(nil, bytes.Repeat([]byte("0123456789abcdef, some words to repeat; "), 300))
	for name, c := range map[string]struct {
		bytes []byte
		want  string
		err   error
	}{
		"bare":                   {bare, "bare block", nil},
		"framed":                 {framed, "framed,", nil},
		"several blocks":         {join(framed, framed[16:]), "framed,framed,", nil},
		"streams in a row":       {join(framed, framed), "framed,framed,", nil},
		"header alone":           {xerialHeader, "", nil},
		"bytes too few to count": {join(framed, []byte{0, 0}), "framed,", nil},
		"cut block":              {framed[:len(framed)-1], "", ErrBrokenData},
		"cut header":             {framed[:12], "", ErrBrokenData},
		"cut bare block":         {bare[:len(bare)-1], "", ErrBrokenData},
		"bytes after a block":    {append(bare[:len(bare):len(bare)], 1), "", ErrBrokenData},
		"empty block":            {join(xerialHeader, []byte{0, 0, 0, 0}), "", ErrBrokenData},
		"empty":                  {nil, "", ErrBrokenData},
		"s2, which Java rejects": {repeat, "", ErrBrokenData},
	} {
		out, err := Decompress(nil, Snappy, c.bytes, 0)
		require.ErrorIs(t, err, c.err, name)
		require.Equal(t, c.want, string(out), name)
	}
}

func lz4Descriptor(flags, sizes byte, more ...byte) []byte {
	d := append([]byte{flags, sizes}, more...)
	return join([]byte{4, 0x22, 0x4d, 0x18}, d, []byte{byte(xxh32(d) >> 8)})
}

func TestLZ4Frames(t *testing.T) {
	src := encodeRecords(filled(9000, 40))
	for name, options := range map[string][]lz4.Option{
		"64 KiB":           {lz4.BlockSizeOption(lz4.Block64Kb)},
		"4 MiB":            {lz4.BlockSizeOption(lz4.Block4Mb)},
		"block checksums":  {lz4.BlockChecksumOption(true)},
		"content checksum": {lz4.ChecksumOption(true)},
		"content size":     {lz4.SizeOption(uint64(len(src)))},
	} {
		var buf bytes.Buffer
		w := lz4.NewWriter(&buf)
		require.NoError(t, w.Apply(options...))
		_, err := w.Write(src)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		out, err := Decompress(nil, LZ4, buf.Bytes(), 0)
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(src, out), name)
		if name == "block checksums" {
			buf.Bytes()[100] ^= 1
			_, err = Decompress(nil, LZ4, buf.Bytes(), 0)
			require.ErrorIs(t, err, ErrBrokenData)
		}
	}
	stored := []byte{1, 0, 0, 0x80, 'x', 0, 0, 0, 0}
	for name, c := range map[string]struct {
		bytes []byte
		want  string
		err   error
	}{
		"stored block":          {join(lz4Descriptor(0x60, 0x40), stored), "x", nil},
		"content size":          {join(lz4Descriptor(0x68, 0x40, 9, 9, 9, 9, 9, 9, 9, 9), stored), "x", nil},
		"bytes after the frame": {join(lz4Descriptor(0x60, 0x40), stored, []byte("more")), "x", nil},
		"content checksum":      {join(lz4Descriptor(0x64, 0x40), stored, []byte("sum?")), "x", nil},
		"no content checksum":   {join(lz4Descriptor(0x64, 0x40), stored, []byte("sum")), "", ErrBrokenData},
		"no end mark":           {join(lz4Descriptor(0x60, 0x40), stored[:5]), "", ErrBrokenData},
		"descriptor checksum":   {join(lz4Descriptor(0x60, 0x40)[:6], []byte{0}, stored), "", ErrBrokenData},
		"dependent blocks":      {join(lz4Descriptor(0x40, 0x40), stored), "", ErrBrokenData},
		"dictionary":            {join(lz4Descriptor(0x61, 0x40, 1, 2, 3, 4), stored), "", ErrBrokenData},
		"version 2":             {join(lz4Descriptor(0xa0, 0x40), stored), "", ErrBrokenData},
		"block size code 3":     {join(lz4Descriptor(0x60, 0x30), stored), "", ErrBrokenData},
		"block above its size":  {join(lz4Descriptor(0x60, 0x40), []byte{1, 0, 1, 0x80}, make([]byte, 70000)), "", ErrBrokenData},
		"empty":                 {nil, "", ErrBrokenData},
	} {
		out, err := Decompress(nil, LZ4, c.bytes, 0)
		require.ErrorIs(t, err, c.err, name)
		require.Equal(t, c.want, string(out), name)
	}
}

func TestXXH32(t *testing.T) {
	// From the reference implementation.
	for in, want := range map[string]uint32{
		"": 0x02cc5d05, "a": 0x550d7456, "abc": 0x32d153ff, "Nobody inspects the spammish repetition": 0xe2293b2f,
	} {
		require.Equal(t, want, xxh32([]byte(in)), in)
	}
}

func TestZstdWindows(t *testing.T) {
	rnd := seeded(t)
	for _, window := range []int{1 << 20, zstdStreamed, 2 * zstdStreamed, zstdWidest} {
		for _, size := range []int{1000, 3 << 20, 5<<20 + 1} {
			src := make([]byte, size)
			for i := range src {
				src[i] = byte(rnd.IntN(3))
			}
			if size > 4<<20 { // blocks made of copies, more than four times as large as a payload of more than 256 KiB
				for i := 0; i < size; i += copy(src[i:], fmt.Sprintf("level=info client=%08d message=accepted ", rnd.IntN(1e8))) {
				}
			}
			var buf bytes.Buffer
			w, err := zstd.NewWriter(&buf, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
			require.NoError(t, err)
			_, err = w.Write(src) // streamed, so that the frame says its window and not its size
			require.NoError(t, err)
			require.NoError(t, w.Close())
			out, err := Decompress(nil, Zstd, buf.Bytes(), 0)
			require.NoError(t, err)
			require.True(t, bytes.Equal(src, out), "window %d, %d bytes", window, size)
			_, err = Decompress(nil, Zstd, buf.Bytes(), int64(size-1))
			require.ErrorIs(t, err, ErrExpansion)
		}
	}
}

func TestExpansionLimit(t *testing.T) {
	require.EqualValues(t, 64<<20, ExpansionLimit(1))
	require.EqualValues(t, 400<<20, ExpansionLimit(100<<20))
	require.Positive(t, ExpansionLimit(math.MaxInt32))
}
