package handler

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// readDocuments answers ReadDocuments from the image.
func (h *handlers) readDocuments(c *call.Call) {
	req := c.Request.(*private.ReadDocumentsRequest)
	resp := &private.ReadDocumentsResponse{}
	image := h.Cluster.Image()
	switch {
	case !slices.Contains(private.Kinds, req.Kind):
		resp.ErrorCode, resp.ErrorMessage = kerr.InvalidRequest.Code, "unknown kind of documents "+req.Kind
	case !req.Prefix:
		if d := image.Document(req.Kind, req.Name); d != nil {
			resp.Documents = []private.Document{private.Document(*d)}
		}
	default:
		for d := range image.Documents(req.Kind, req.Name, req.After) {
			if req.Limit > 0 && len(resp.Documents) >= int(req.Limit) {
				resp.More = true
				break
			}
			resp.Documents = append(resp.Documents, private.Document(*d))
		}
	}
	c.Reply(call.Response{Message: resp})
}

// writeDocuments changes documents under conditions.
func (h *handlers) writeDocuments(c *call.Call) {
	req := c.Request.(*private.WriteDocumentsRequest)
	resp := &private.WriteDocumentsResponse{}
	defer c.Reply(call.Response{Message: resp})
	var conds []cluster.DocumentCond
	for _, cond := range req.If {
		conds = append(conds, cluster.DocumentCond{Kind: cond.Kind, Name: cond.Name, Exists: cond.Revision == private.Exists, Revision: max(cond.Revision, 0)})
	}
	var then []cluster.DocumentOp
	for _, change := range req.Then {
		if !slices.Contains(private.Kinds, change.Kind) {
			resp.ErrorCode, resp.ErrorMessage = kerr.InvalidRequest.Code, "unknown kind of documents "+change.Kind
			return
		}
		then = append(then, cluster.DocumentOp(change))
	}
	ctx, cancel := context.WithTimeout(c.Context, adminTimeout)
	defer cancel()
	revision, err := h.Cluster.WriteDocuments(ctx, conds, then)
	if errors.Is(err, cluster.ErrConflict) {
		resp.ErrorCode, resp.ErrorMessage = kerr.InvalidUpdateVersion.Code, "a document is not as the condition says"
		return
	}
	resp.Revision, resp.ErrorCode = revision, h.code(err, "write documents")
	if reason := reasonOf(err); reason != nil {
		resp.ErrorMessage = *reason
	}
}
