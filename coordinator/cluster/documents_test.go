package cluster

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// named lists the names of a kind's documents.
func named(im *Image, kind, prefix, after string) (names []string) {
	for d := range im.Documents(kind, prefix, after) {
		names = append(names, d.Name)
	}
	return names
}

func TestDocumentsChangeTogetherOrNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c, _ := join(t, store, 1)
		put := func(name, value string) DocumentOp {
			return DocumentOp{Kind: "queues", Name: name, Value: []byte(value)}
		}
		first, err := c.WriteDocuments(t.Context(), []DocumentCond{{Kind: "queues", Name: "p/1"}}, []DocumentOp{put("p/1", "a"), put("p/2", "b")})
		require.NoError(t, err)
		require.Equal(t, &Document{Name: "p/1", Value: []byte("a"), Revision: first}, c.Image().Document("queues", "p/1"))

		_, err = c.WriteDocuments(t.Context(), []DocumentCond{{Kind: "queues", Name: "p/1"}}, []DocumentOp{put("p/3", "c")})
		require.ErrorIs(t, err, ErrConflict, "it exists")
		_, err = c.WriteDocuments(t.Context(), []DocumentCond{{Kind: "queues", Name: "p/3", Exists: true}}, []DocumentOp{put("p/3", "c")})
		require.ErrorIs(t, err, ErrConflict, "it does not exist")
		require.Nil(t, c.Image().Document("queues", "p/3"))
		second, err := c.WriteDocuments(t.Context(), []DocumentCond{{Kind: "queues", Name: "p/1", Revision: first}},
			[]DocumentOp{put("p/1", "a2"), {Kind: "queues", Name: "p/2", Delete: true}})
		require.NoError(t, err)
		require.Greater(t, second, first)
		_, err = c.WriteDocuments(t.Context(), []DocumentCond{{Kind: "queues", Name: "p/1", Revision: first}}, []DocumentOp{put("p/1", "a3")})
		require.ErrorIs(t, err, ErrConflict, "of an older revision")
		require.Equal(t, []string{"p/1"}, named(c.Image(), "queues", "", ""))

		_, err = c.WriteDocuments(t.Context(), nil, []DocumentOp{{Kind: "queues", Name: "never", Delete: true}})
		require.NoError(t, err, "what is not there may be deleted, and nobody waits for it to show")
		_, err = c.WriteDocuments(t.Context(), nil, []DocumentOp{put("big", strings.Repeat("x", MaxDocument+1))})
		require.ErrorIs(t, err, ErrTooLarge)
		for _, bad := range []DocumentOp{{Kind: "", Name: "x"}, {Kind: "a/b", Name: "x"}, {Kind: "a"}, {Kind: "a", Name: strings.Repeat("n", maxDocumentName)}} {
			_, err = c.WriteDocuments(t.Context(), nil, []DocumentOp{bad})
			require.ErrorIs(t, err, ErrInvalidRequest)
		}
	})
}

func TestDocumentsAreListedByNameAlsoAfterALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c1, _ := join(t, store, 1)
		for _, name := range []string{"p/b", "p/a", "q/a", "p", "p/c", "o/z"} {
			_, err := c1.WriteDocuments(t.Context(), nil, []DocumentOp{{Kind: "queues", Name: name, Value: []byte(name)}, {Kind: "tags", Name: name}})
			require.NoError(t, err)
		}
		c2, _ := join(t, store, 2)
		for _, c := range []*Cluster{c1, c2} {
			require.Equal(t, []string{"o/z", "p", "p/a", "p/b", "p/c", "q/a"}, named(c.Image(), "queues", "", ""))
			require.Equal(t, []string{"p/a", "p/b", "p/c"}, named(c.Image(), "queues", "p/", ""))
			require.Equal(t, []string{"p/b", "p/c"}, named(c.Image(), "queues", "p/", "p/a"))
			require.Empty(t, named(c.Image(), "queue", "", ""))
		}
	})
}

func TestOfManyWhoMakeADocumentOneSucceedsAndTheOthersSeeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c1, _ := join(t, store, 1)
		c2, _ := join(t, store, 2)
		var tasks sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for range 8 {
			for _, c := range []*Cluster{c1, c2} {
				tasks.Go(func() {
					_, err := c.WriteDocuments(context.Background(), []DocumentCond{{Kind: "queue-names", Name: "p/orders"}}, []DocumentOp{{Kind: "queue-names", Name: "p/orders"}})
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won++
						return
					}
					require.ErrorIs(t, err, ErrConflict)
					require.NotNil(t, c.Image().Document("queue-names", "p/orders"), "who lost sees what won")
				})
			}
		}
		tasks.Wait()
		require.Equal(t, 1, won)
	})
}
