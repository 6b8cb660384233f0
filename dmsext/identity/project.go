package identity

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// Project is a name space of queues. ID is 32 lower-case hexadecimal digits.
type Project struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Domain      string    `json:"domain"`
	Description string    `json:"description"`
	Created     time.Time `json:"created"`
}

// NewProject is what a project is made with. Without an ID it gets a random one, without a Domain the DefaultDomain.
type NewProject struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Domain      string `json:"domain"`
	Description string `json:"description"`
}

func (n *NewProject) complete() error {
	n.ID, n.Domain = cmp.Or(n.ID, newID()), cmp.Or(n.Domain, DefaultDomain)
	if !projectID.MatchString(n.ID) {
		return fmt.Errorf("%w: project id %q: want 32 hexadecimal digits in lower case", ErrInvalid, clip(n.ID))
	}
	return cmp.Or(checkName("project", n.Name), checkName("domain", n.Domain), checkDescription(n.Description))
}

// CreateProject makes a project. Errors: ErrInvalid; ErrExists when the name or the id is taken; ErrLimit.
func (s *Service) CreateProject(ctx context.Context, n NewProject) (Project, error) {
	if err := n.complete(); err != nil {
		return Project{}, err
	}
	p := Project{ID: n.ID, Name: n.Name, Domain: n.Domain, Description: n.Description, Created: s.now().UTC()}
	return p, retry(ctx, func() error {
		r, revision, err := s.registry(ctx)
		if err != nil {
			return err
		}
		taken, err := s.findProject(ctx, func(o *Project) bool { return o.Name == p.Name || o.ID == p.ID })
		if err != nil {
			return err
		}
		if taken.Value != nil {
			return fmt.Errorf("%w: project %s, id %s", ErrExists, taken.Value.Name, taken.Value.ID)
		}
		r.Projects++
		var c change
		if err := c.putRegistry(r, revision); err != nil {
			return err
		}
		if err := c.put(private.KindProjects, p.ID, private.Absent, p); err != nil {
			return err
		}
		return s.docs.write(ctx, &c)
	})
}

// Projects lists all projects by name.
func (s *Service) Projects(ctx context.Context) ([]Project, error) {
	all := []Project{}
	err := each(ctx, &s.docs, private.KindProjects, func(p stored[Project]) bool {
		all = append(all, *p.Value)
		return true
	})
	slices.SortFunc(all, func(a, b Project) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// Project finds a project by its id or its name. Error: ErrNotFound.
func (s *Service) Project(ctx context.Context, idOrName string) (Project, error) {
	p, err := s.project(ctx, idOrName)
	if err != nil {
		return Project{}, err
	}
	return *p.Value, nil
}

// project is Project with the revision. An id goes before a name of the same letters.
func (s *Service) project(ctx context.Context, idOrName string) (stored[Project], error) {
	if projectID.MatchString(idOrName) {
		if p, err := load[Project](ctx, &s.docs, private.KindProjects, idOrName); err != nil || p.Value != nil {
			return p, err
		}
	}
	p, err := s.findProject(ctx, func(p *Project) bool { return p.Name == idOrName })
	if err == nil && p.Value == nil {
		err = fmt.Errorf("%w: project %q", ErrNotFound, clip(idOrName))
	}
	return p, err
}

func (s *Service) findProject(ctx context.Context, match func(*Project) bool) (found stored[Project], err error) {
	err = each(ctx, &s.docs, private.KindProjects, func(p stored[Project]) bool {
		if match(p.Value) {
			found = p
		}
		return found.Value == nil
	})
	return found, err
}

// DeleteProject deletes a project that nothing belongs to. Errors: ErrNotFound; ErrInUse while it has queues, users or
// access keys.
func (s *Service) DeleteProject(ctx context.Context, idOrName string) error {
	return retry(ctx, func() error {
		p, err := s.project(ctx, idOrName)
		if err != nil {
			return err
		}
		r, revision, err := s.registry(ctx)
		if err != nil {
			return err
		}
		if err := s.unused(ctx, p.Value.ID); err != nil {
			return err
		}
		r.Projects--
		var c change
		if err := c.putRegistry(r, revision); err != nil {
			return err
		}
		c.remove(private.KindProjects, p.Name, p.Revision)
		return s.docs.write(ctx, &c)
	})
}

func (s *Service) unused(ctx context.Context, project string) error {
	queues, err := s.docs.any(ctx, private.KindQueues, project+"/")
	if err != nil {
		return err
	}
	if queues {
		return fmt.Errorf("%w: it has queues", ErrInUse)
	}
	owner := ""
	err = each(ctx, &s.docs, private.KindUsers, func(u stored[user]) bool {
		if slices.Contains(u.Value.Projects, project) || slices.ContainsFunc(u.Value.Keys, func(k userKey) bool { return k.Project == project }) {
			owner = u.Name
		}
		return owner == ""
	})
	if err == nil && owner != "" {
		err = fmt.Errorf("%w: by user %s", ErrInUse, owner)
	}
	return err
}
