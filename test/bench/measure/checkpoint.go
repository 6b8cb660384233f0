package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// compareCheckpoint makes many partitions dirty, a small record in each, and watches one
// synchronous producer until the checkpoint that syncs them all is over.
func compareCheckpoint(ctx context.Context, n *node, _ []string) error {
	var names []string
	for i := range *topics {
		names = append(names, fmt.Sprintf("dirty-%d", i))
	}
	each := *partitions / *topics
	if err := n.create(ctx, each, names...); err != nil {
		return err
	}
	d := time.Duration(*seconds) * time.Second
	return pair([2]string{"1 producer alone", "1 producer across a checkpoint"}, [2]func() (*waits, error){
		func() (*waits, error) { return n.produceSync(ctx, 1, []string{"alone"}, d) },
		func() (*waits, error) {
			if err := n.fill(ctx, names, each, 1); err != nil {
				return nil, err
			}
			return n.untilClean(ctx)
		},
	}, "p99, limit 5", func(a, b *waits) float64 { return float64(b.p(99)) / float64(a.p(99)) })
}

// untilClean produces synchronously until few logs are dirty, and answers the waits of all
// that time.
func (n *node) untilClean(ctx context.Context) (*waits, error) {
	var all *waits
	began := time.Now()
	for {
		w, err := n.produceSync(ctx, 1, []string{"alone"}, time.Second)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = w
		} else {
			all.hist.Merge(w.hist)
			all.rate = float64(all.hist.TotalCount()) / time.Since(began).Seconds()
		}
		dirty, err := n.metric(ctx, "tidemark_journal_dirty_streams")
		if err != nil {
			return nil, err
		}
		if dirty < 100 {
			say("  checkpoint", "over after %.1f s", time.Since(began).Seconds())
			return all, nil
		}
	}
}

// metric reads one of the broker's metrics.
func (n *node) metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}
