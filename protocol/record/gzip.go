package record

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

type gzipInflater struct {
	src bytes.Reader // reads byte by byte, so that nothing behind a member is taken from it
	z   gzip.Reader
}

func (g *gzipInflater) open(src []byte, _ int64) error {
	g.src.Reset(src)
	return g.member()
}

func (g *gzipInflater) member() error {
	if err := g.z.Reset(&g.src); err != nil {
		return err
	}
	g.z.Multistream(false)
	return nil
}

// read goes on with the next member after each, and takes bytes that do not begin one for the end, as Java's reader does.
func (g *gzipInflater) read(p []byte) (int, error) {
	for {
		n, err := g.z.Read(p)
		if err == io.EOF && g.src.Len() > 0 && g.member() == nil {
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (g *gzipInflater) close() { g.src.Reset(nil) }

// gzipWriters are pooled by level, -1 to 9.
var gzipWriters [11]sync.Pool

// appender is an io.Writer onto a slice.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

func appendGzip(dst []byte, level int, src []byte) ([]byte, error) {
	level = min(max(level, gzip.DefaultCompression), gzip.BestCompression)
	out := appender{dst}
	pool := &gzipWriters[level+1]
	w, ok := pool.Get().(*gzip.Writer)
	if ok {
		w.Reset(&out)
	} else {
		var err error
		if w, err = gzip.NewWriterLevel(&out, level); err != nil {
			return dst, err
		}
	}
	defer pool.Put(w)
	if _, err := w.Write(src); err != nil {
		return dst, err
	}
	if err := w.Close(); err != nil {
		return dst, err
	}
	return out.b, nil
}
