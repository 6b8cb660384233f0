package identity

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// What the identity service shows of projects, users, domains and tokens, in Keystone's words.
type (
	domainView struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		Enabled bool   `json:"enabled,omitempty"`
		Links   *links `json:"links,omitempty"`
	}
	projectView struct {
		ID          string `json:"id"`
		Name        string `json:"name"`
		Description string `json:"description"`
		DomainID    string `json:"domain_id"`
		ParentID    string `json:"parent_id"`
		Enabled     bool   `json:"enabled"`
		IsDomain    bool   `json:"is_domain"`
		Links       links  `json:"links"`
	}
	userView struct {
		ID               string `json:"id"`
		Name             string `json:"name"`
		Description      string `json:"description"`
		DomainID         string `json:"domain_id"`
		Enabled          bool   `json:"enabled"`
		DefaultProjectID string `json:"default_project_id,omitempty"`
		Links            links  `json:"links"`
	}
	named struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	tokenView struct {
		Methods   []string       `json:"methods"`
		IssuedAt  string         `json:"issued_at"`
		ExpiresAt string         `json:"expires_at"`
		AuditIDs  []string       `json:"audit_ids"`
		User      tokenUser      `json:"user"`
		IsDomain  *bool          `json:"is_domain,omitempty"`
		Project   *tokenProject  `json:"project,omitempty"`
		Domain    *domainView    `json:"domain,omitempty"`
		Roles     []named        `json:"roles,omitempty"`
		Catalog   []catalogEntry `json:"catalog,omitempty"`
	}
	tokenUser struct {
		named
		Domain            domainView `json:"domain"`
		PasswordExpiresAt *string    `json:"password_expires_at"`
	}
	tokenProject struct {
		named
		Domain domainView `json:"domain"`
	}
)

func domainOf(name string) domainView { return domainView{ID: domainID(name), Name: name} }

func viewProject(base string, p *Project) projectView {
	d := domainID(p.Domain)
	return projectView{p.ID, p.Name, p.Description, d, d, true, false, links{Self: base + "/v3/projects/" + p.ID}}
}

func viewUser(base string, u *User) userView {
	v := userView{ID: u.ID, Name: u.Name, Description: u.Description, DomainID: domainID(u.Domain), Enabled: true, Links: links{Self: base + "/v3/users/" + u.ID}}
	if len(u.Projects) > 0 {
		v.DefaultProjectID = u.Projects[0]
	}
	return v
}

// describeToken is the body that goes with a token. An unscoped one has no roles and no catalog.
func (s *Service) describeToken(base string, c *claim, u *user, p *Project, catalog bool) map[string]tokenView {
	t := tokenView{IssuedAt: stamp(c.issued), ExpiresAt: stamp(c.expires), AuditIDs: []string{c.auditID()}, Methods: []string{},
		User: tokenUser{named: named{u.ID, u.Name}, Domain: domainOf(u.Domain)}}
	if c.methods&byPassword != 0 {
		t.Methods = append(t.Methods, "password")
	}
	if c.methods&byToken != 0 {
		t.Methods = append(t.Methods, "token")
	}
	switch {
	case p != nil:
		no := false
		t.IsDomain = &no
		t.Project = &tokenProject{named{p.ID, p.Name}, domainOf(p.Domain)}
	case c.domain:
		d := domainOf(u.Domain)
		t.Domain = &d
	default:
		return map[string]tokenView{"token": t}
	}
	for _, r := range u.Roles {
		t.Roles = append(t.Roles, named{derivedID("role", r), r})
	}
	if catalog {
		t.Catalog = s.catalog(base, c.projectID())
	}
	return map[string]tokenView{"token": t}
}

// visible lists the projects that a caller may know of: all for an administrator and in open mode, else those that it may use.
func (s *Service) visible(r *http.Request, body []byte, own bool) ([]Project, error) {
	c, err := s.who(r, body)
	if err != nil {
		return nil, err
	}
	all, err := s.Projects(r.Context())
	return slices.DeleteFunc(all, func(p Project) bool { return !c.mayKnow(p.ID, own) }), err
}

// mayKnow tells whether a caller may know of a project. own leaves those out that an administrator was not given.
func (w *who) mayKnow(project string, own bool) bool {
	switch {
	case w.user == nil:
		return w.Any
	case w.claim == nil && !w.Admin: // an access key is for one project
		return project == w.Project
	case slices.Contains(w.user.Projects, project):
		return true
	}
	return w.Admin && (!own || len(w.user.Projects) == 0)
}

func (s *Service) writeProjects(w http.ResponseWriter, r *http.Request, list []Project) error {
	q := r.URL.Query()
	views := []projectView{}
	for i := range list {
		v := viewProject(s.base(r), &list[i])
		if q.Has("name") && q.Get("name") != v.Name || q.Has("domain_id") && q.Get("domain_id") != v.DomainID || strings.EqualFold(q.Get("enabled"), "false") {
			continue
		}
		views = append(views, v)
	}
	return s.writeList(w, r, "projects", views)
}

func (s *Service) getProjects(w http.ResponseWriter, r *http.Request, body []byte) error {
	list, err := s.visible(r, body, false)
	if err != nil {
		return err
	}
	return s.writeProjects(w, r, list)
}

func (s *Service) getOwnProjects(w http.ResponseWriter, r *http.Request, body []byte) error {
	list, err := s.visible(r, body, true)
	if err != nil {
		return err
	}
	return s.writeProjects(w, r, list)
}

func (s *Service) getProject(w http.ResponseWriter, r *http.Request, body []byte) error {
	list, err := s.visible(r, body, false)
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].ID == r.PathValue("id") {
			return writeJSON(w, http.StatusOK, map[string]any{"project": viewProject(s.base(r), &list[i])})
		}
	}
	return fmt.Errorf("%w: project %s", ErrNotFound, clip(r.PathValue("id")))
}

func (s *Service) getDomains(w http.ResponseWriter, r *http.Request, body []byte) error {
	c, err := s.who(r, body)
	if err != nil {
		return err
	}
	name := DefaultDomain
	if c.user != nil {
		name = c.user.Domain
	}
	list := []domainView{}
	if q := r.URL.Query(); !q.Has("name") || strings.EqualFold(q.Get("name"), name) {
		d := domainOf(name)
		d.Enabled, d.Links = true, &links{Self: s.base(r) + "/v3/domains/" + d.ID}
		list = append(list, d)
	}
	return s.writeList(w, r, "domains", list)
}

// known lists the users that a caller may know of: all for an administrator and in open mode, else itself.
func (s *Service) known(r *http.Request, body []byte) ([]User, error) {
	c, err := s.who(r, body)
	if err != nil {
		return nil, err
	}
	if c.sees() {
		return s.Users(r.Context())
	}
	return []User{c.user.User}, nil
}

func (s *Service) getUsers(w http.ResponseWriter, r *http.Request, body []byte) error {
	users, err := s.known(r, body)
	if err != nil {
		return err
	}
	views := []userView{}
	for i := range users {
		if q := r.URL.Query(); !q.Has("name") || q.Get("name") == users[i].Name {
			views = append(views, viewUser(s.base(r), &users[i]))
		}
	}
	return s.writeList(w, r, "users", views)
}

func (s *Service) pathUser(r *http.Request, body []byte) (*User, error) {
	users, err := s.known(r, body)
	if err != nil {
		return nil, err
	}
	for i := range users {
		if users[i].ID == r.PathValue("id") {
			return &users[i], nil
		}
	}
	return nil, fmt.Errorf("%w: user %s", ErrNotFound, clip(r.PathValue("id")))
}

func (s *Service) getUser(w http.ResponseWriter, r *http.Request, body []byte) error {
	u, err := s.pathUser(r, body)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"user": viewUser(s.base(r), u)})
}

func (s *Service) getUserProjects(w http.ResponseWriter, r *http.Request, body []byte) error {
	u, err := s.pathUser(r, body)
	if err != nil {
		return err
	}
	all, err := s.Projects(r.Context())
	if err != nil {
		return err
	}
	return s.writeProjects(w, r, slices.DeleteFunc(all, func(p Project) bool { return !slices.Contains(u.Projects, p.ID) }))
}
