package cluster

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
)

// MaxDocument bounds a document's value, in bytes.
const MaxDocument = 64 << 10

// maxDocumentName bounds a document's kind and name together, in bytes.
const maxDocumentName = 512

// Document is a small value that others keep with the cluster's metadata: what queues there are, who may use them. It never changes; equal
// documents of two images are equal pointers.
type Document struct {
	Name     string
	Value    []byte
	Revision int64 // grows with each change
}

// Document answers the document of that kind and name, nil when there is none.
func (im *Image) Document(kind, name string) *Document {
	d, _ := im.documents.Get(kind + "/" + name)
	return d
}

// Documents yields the documents of a kind whose names begin with prefix and are greater than after, by name.
func (im *Image) Documents(kind, prefix, after string) iter.Seq[*Document] {
	dir := kind + "/"
	return func(yield func(*Document) bool) {
		for key := range im.documentKeys.from(dir + max(prefix, after)) {
			name, ofKind := strings.CutPrefix(key, dir)
			if !ofKind || !strings.HasPrefix(name, prefix) {
				return
			}
			if name == after && after != "" {
				continue
			}
			if d, _ := im.documents.Get(key); !yield(d) {
				return
			}
		}
	}
}

// DocumentCond is a condition on a document: Exists, or, where that is false, its revision (0: it must not exist).
type DocumentCond struct {
	Kind, Name string
	Exists     bool
	Revision   int64
}

// DocumentOp puts a document, or deletes it.
type DocumentOp struct {
	Kind, Name string
	Value      []byte
	Delete     bool
}

// WriteDocuments performs all of then if all of conds hold, at once, and answers the revision once the image shows it; ErrConflict when a
// condition does not hold, and nothing is changed. ErrUnavailable: it may or may not have happened.
func (c *Cluster) WriteDocuments(ctx context.Context, conds []DocumentCond, then []DocumentOp) (revision int64, err error) {
	ctx, end, err := c.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	txn := Txn{If: []Cond{c.session.identity}}
	for _, cond := range conds {
		if err := checkDocument(cond.Kind, cond.Name); err != nil {
			return 0, err
		}
		txn.If = append(txn.If, Cond{Key: c.prefix.document(cond.Kind, cond.Name), Exists: cond.Exists, Revision: cond.Revision})
	}
	for _, op := range then {
		if err := checkDocument(op.Kind, op.Name); err != nil {
			return 0, err
		}
		if len(op.Value) > MaxDocument {
			return 0, refuse(ErrTooLarge, "The document %s/%s is larger than %d bytes: %d.", op.Kind, op.Name, MaxDocument, len(op.Value))
		}
		txn.Then = append(txn.Then, Op{Key: c.prefix.document(op.Kind, op.Name), Value: op.Value, Delete: op.Delete})
	}
	if len(txn.If) > MaxTxnOps || len(txn.Then) > MaxTxnOps {
		return 0, refuse(ErrInvalidRequest, "A change of documents may have at most %d conditions and %d changes.", MaxTxnOps-1, MaxTxnOps)
	}
	res, err := c.store.Txn(ctx, txn)
	if err != nil {
		return 0, err
	}
	if !res.Done {
		return 0, errors.Join(ErrConflict, c.awaitDocuments(ctx, txn.If[1:]))
	}
	// The image's revision may never come to the change's: a deletion of what is not there is none.
	_, err = c.view.await(ctx, func(im *Image) bool {
		return !slices.ContainsFunc(then, func(op DocumentOp) bool {
			d := im.Document(op.Kind, op.Name)
			if op.Delete {
				return d != nil && d.Revision < res.Revision
			}
			return im.Revision < res.Revision
		})
	})
	return res.Revision, err
}

// awaitDocuments waits until the image shows what is stored of some documents, so that whoever lost finds there what made them lose.
func (c *Cluster) awaitDocuments(ctx context.Context, conds []Cond) error {
	for _, cond := range conds {
		kv, err := get(ctx, c.store, cond.Key)
		if err != nil {
			return err
		}
		key := strings.TrimPrefix(cond.Key, string(c.prefix)+documentsDir)
		_, err = c.view.await(ctx, func(im *Image) bool {
			d, _ := im.documents.Get(key)
			return im.Revision >= kv.ModRevision && (d == nil || kv.ModRevision > 0 || im.Revision > d.Revision)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func checkDocument(kind, name string) error {
	if kind == "" || name == "" || strings.Contains(kind, "/") || len(kind)+len(name) > maxDocumentName {
		return refuse(ErrInvalidRequest, "A document's kind and name must not be empty, its kind have no slash, and both no more than %d bytes.", maxDocumentName)
	}
	return nil
}

func (d *draft) applyDocument(key string, e *Event) error {
	kind, name, ok := strings.Cut(key, "/")
	if !ok || checkDocument(kind, name) != nil {
		return errMalformed
	}
	if e.Deleted {
		d.im.documents.Delete(d.owner, key)
		d.im.documentKeys = d.im.documentKeys.without(key)
		return nil
	}
	d.im.documents.Set(d.owner, key, &Document{Name: name, Value: e.Value, Revision: e.ModRevision})
	if !d.bulk {
		d.im.documentKeys = d.im.documentKeys.with(key)
	}
	return nil
}

// finishDocuments is finishLoad's part for documents: it answers their keys in order.
func (d *draft) finishDocuments(old *Image) []string {
	sorted := make([]string, 0, d.im.documents.Len())
	for key := range d.im.documents.All() {
		sorted = append(sorted, key)
	}
	slices.Sort(sorted)
	for _, key := range sorted {
		if was, found := old.documents.Get(key); found {
			if is, _ := d.im.documents.Get(key); is.Revision == was.Revision {
				d.im.documents.Set(d.owner, key, was)
			}
		}
	}
	return sorted
}
