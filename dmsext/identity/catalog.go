package identity

import (
	"fmt"
	"net"
	"net/http"
	"strings"
)

// service is an entry of the catalog. A path with {project_id} is there only for who has a project.
type service struct{ kind, name, path string }

// services are what clients look up for DMS (DMS reference, D33): dms by otcextensions, which appends the project itself, dmsv1
// and dmsv2 by gophertelekomcloud.
var services = []service{
	{"identity", "iam", "/v3"},
	{"dms", "dms", "/v1.0"},
	{"dmsv1", "dmsv1", "/v1.0/{project_id}"},
	{"dmsv2", "dmsv2", "/v2/{project_id}"},
}

func (v service) id() string { return derivedID("service", v.kind) }

type link struct {
	Rel  string `json:"rel,omitempty"`
	Href string `json:"href"`
}

type links struct {
	Self     string  `json:"self"`
	Previous *string `json:"previous,omitempty"`
	Next     *string `json:"next,omitempty"`
}

type endpoint struct {
	ID        string `json:"id"`
	ServiceID string `json:"service_id,omitempty"`
	Interface string `json:"interface"`
	Region    string `json:"region"`
	RegionID  string `json:"region_id"`
	URL       string `json:"url"`
	Enabled   *bool  `json:"enabled,omitempty"`
}

type catalogEntry struct {
	ID        string     `json:"id"`
	Type      string     `json:"type"`
	Name      string     `json:"name"`
	Endpoints []endpoint `json:"endpoints"`
}

// base is how addresses begin: with the configured URL, else with the address that the request arrived at. A client's Host header
// need not have the port.
func (s *Service) base(r *http.Request) string {
	if s.url != "" {
		return s.url
	}
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return "http://" + a.String()
	}
	return ""
}

// catalog lists the services for a project; "" is none.
func (s *Service) catalog(base, project string) []catalogEntry {
	entries := []catalogEntry{}
	for _, v := range services {
		if e, ok := s.endpoint(base, v, project); ok {
			entries = append(entries, catalogEntry{v.id(), v.kind, v.name, []endpoint{e}})
		}
	}
	return entries
}

func (s *Service) endpoint(base string, v service, project string) (endpoint, bool) {
	const placeholder = "{project_id}"
	if project == "" && strings.Contains(v.path, placeholder) {
		return endpoint{}, false
	}
	return endpoint{ID: derivedID("endpoint", v.kind, s.region), Interface: "public", Region: s.region, RegionID: s.region,
		URL: base + strings.ReplaceAll(v.path, placeholder, project)}, true
}

func (s *Service) getCatalog(w http.ResponseWriter, r *http.Request, body []byte) error {
	c, err := s.who(r, body)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"catalog": s.catalog(s.base(r), c.Project), "links": links{Self: s.base(r) + "/v3/auth/catalog"}})
}

type serviceView struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
	Links   links  `json:"links"`
}

func (v service) view(base string) serviceView {
	return serviceView{v.id(), v.kind, v.name, true, links{Self: base + "/v3/services/" + v.id()}}
}

func (s *Service) getServices(w http.ResponseWriter, r *http.Request, body []byte) error {
	if _, err := s.who(r, body); err != nil {
		return err
	}
	list := []serviceView{}
	for _, v := range services {
		if q := r.URL.Query(); (!q.Has("type") || q.Get("type") == v.kind) && (!q.Has("name") || q.Get("name") == v.name) {
			list = append(list, v.view(s.base(r)))
		}
	}
	return s.writeList(w, r, "services", list)
}

func (s *Service) getService(w http.ResponseWriter, r *http.Request, body []byte) error {
	if _, err := s.who(r, body); err != nil {
		return err
	}
	for _, v := range services {
		if v.id() == r.PathValue("id") {
			return writeJSON(w, http.StatusOK, map[string]any{"service": v.view(s.base(r))})
		}
	}
	return fmt.Errorf("%w: service %s", ErrNotFound, clip(r.PathValue("id")))
}

func (s *Service) getEndpoints(w http.ResponseWriter, r *http.Request, body []byte) error {
	c, err := s.who(r, body)
	if err != nil {
		return err
	}
	yes := true
	list := []endpoint{}
	for _, v := range services {
		if e, ok := s.endpoint(s.base(r), v, c.Project); ok {
			e.ServiceID, e.Enabled = v.id(), &yes
			list = append(list, e)
		}
	}
	return s.writeList(w, r, "endpoints", list)
}

func (s *Service) getRegions(w http.ResponseWriter, r *http.Request, body []byte) error {
	if _, err := s.who(r, body); err != nil {
		return err
	}
	return s.writeList(w, r, "regions", []map[string]any{{"id": s.region, "description": "", "parent_region_id": nil,
		"links": links{Self: s.base(r) + "/v3/regions/" + s.region}}})
}

// writeList answers with a list in the way of Keystone.
func (s *Service) writeList(w http.ResponseWriter, r *http.Request, name string, list any) error {
	return writeJSON(w, http.StatusOK, map[string]any{name: list,
		"links": map[string]any{"self": s.base(r) + r.URL.Path, "previous": nil, "next": nil}})
}

// version is the one version of the identity service. Clients need no credentials to see it.
func version(base string) map[string]any {
	return map[string]any{
		"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       []link{{"self", base + "/v3/"}},
		"media-types": []map[string]string{{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}

func (s *Service) getVersion(w http.ResponseWriter, r *http.Request, _ []byte) error {
	return writeJSON(w, http.StatusOK, map[string]any{"version": version(s.base(r))})
}

func (s *Service) getVersions(w http.ResponseWriter, r *http.Request, _ []byte) error {
	return writeJSON(w, http.StatusMultipleChoices, map[string]any{"versions": map[string]any{"values": []any{version(s.base(r))}}})
}
