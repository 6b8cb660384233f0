package identity

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// AccessKey is an access key as shown: its secret is shown once, by CreateAccessKey.
type AccessKey struct {
	Access      string    `json:"access"`
	User        string    `json:"user"`
	Project     string    `json:"project"`
	Description string    `json:"description"`
	Created     time.Time `json:"created"`
}

// NewAccessKey is what an access key is made with. Project is an id or a name; empty: the user's first.
type NewAccessKey struct {
	User        string `json:"user"`
	Project     string `json:"project"`
	Description string `json:"description"`
}

// accessKey is an access key's document. The secret has to be known to verify a signature, so it is sealed, not hashed.
type accessKey struct {
	AccessKey
	Sealed []byte `json:"sealed"`

	secret atomic.Pointer[string] // opened, once; not in the document
}

const (
	accessLength = 20
	secretLength = 40
	// temporaryPrefix begins access keys that have no document (temporary.go). Others never begin so: they are shorter.
	temporaryPrefix = "TMP"
)

var accessName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// CreateAccessKey makes an access key of a user for one project and returns its secret, which is never shown again. Errors:
// ErrNotFound, ErrInvalid, ErrLimit, ErrDenied when the user may not use the project.
func (s *Service) CreateAccessKey(ctx context.Context, n NewAccessKey) (k AccessKey, secret string, err error) {
	if err := checkDescription(n.Description); err != nil {
		return AccessKey{}, "", err
	}
	sealing, err := s.sealing(ctx)
	if err != nil {
		return AccessKey{}, "", err
	}
	doc := accessKey{AccessKey: AccessKey{Access: randomText(accessLetters, accessLength), User: n.User, Description: n.Description, Created: s.now().UTC()}}
	secret = randomText(secretLetters, secretLength)
	err = retry(ctx, func() error { return s.createAccessKey(ctx, &doc, n.Project, secret, sealing) })
	if err != nil {
		return AccessKey{}, "", err
	}
	return doc.AccessKey, secret, nil
}

func (s *Service) createAccessKey(ctx context.Context, doc *accessKey, project, secret string, sealing *sealingKey) error {
	owner, err := s.user(ctx, doc.User)
	if err != nil {
		return err
	}
	u := owner.Value.copy()
	if project == "" {
		if len(u.Projects) == 0 {
			return fmt.Errorf("%w: user %s has no project; name one for the access key", ErrInvalid, u.Name)
		}
		project = u.Projects[0]
	}
	p, err := s.project(ctx, project)
	if err != nil {
		return err
	}
	switch {
	case !u.may(p.Name):
		return fmt.Errorf("%w: project %s is not one of user %s", ErrDenied, p.Value.Name, u.Name)
	case len(u.Keys) >= MaxUserKeys:
		return fmt.Errorf("%w: user %s has %d access keys", ErrLimit, u.Name, MaxUserKeys)
	}
	doc.Project = p.Name
	if doc.Sealed, err = sealing.seal(secret, doc.binding()); err != nil {
		return err
	}
	u.Keys = append(u.Keys, userKey{doc.Access, doc.Project})
	var c change
	c.putRaw(private.KindProjects, p.Name, p.Revision, p.raw)
	if err := c.put(private.KindUsers, u.Name, owner.Revision, u); err != nil {
		return err
	}
	if err := c.put(private.KindAccessKeys, doc.Access, private.Absent, doc); err != nil {
		return err
	}
	return s.docs.write(ctx, &c)
}

// binding is what a sealed secret can not be moved away from.
func (k *accessKey) binding() string { return k.Access + "\x00" + k.User + "\x00" + k.Project }

// AccessKeys lists the access keys of a user, or all with "", by their names.
func (s *Service) AccessKeys(ctx context.Context, user string) ([]AccessKey, error) {
	all := []AccessKey{}
	if user != "" {
		if _, err := s.user(ctx, user); err != nil {
			return nil, err
		}
	}
	err := each(ctx, &s.docs, private.KindAccessKeys, func(k stored[accessKey]) bool {
		if user == "" || k.Value.User == user {
			all = append(all, k.Value.AccessKey)
		}
		return true
	})
	return all, err
}

// AccessKey finds an access key. Error: ErrNotFound.
func (s *Service) AccessKey(ctx context.Context, access string) (AccessKey, error) {
	k, err := s.accessKey(ctx, access)
	if err != nil {
		return AccessKey{}, err
	}
	return k.AccessKey, nil
}

func (s *Service) accessKey(ctx context.Context, access string) (*accessKey, error) {
	if !accessName.MatchString(access) {
		return nil, fmt.Errorf("%w: access key %q", ErrNotFound, clip(access))
	}
	k, err := load[accessKey](ctx, &s.docs, private.KindAccessKeys, access)
	if err == nil && k.Value == nil {
		err = fmt.Errorf("%w: access key %s", ErrNotFound, access)
	}
	return k.Value, err
}

// DeleteAccessKey deletes an access key; requests signed with it are refused from then on. Error: ErrNotFound.
func (s *Service) DeleteAccessKey(ctx context.Context, access string) error {
	return retry(ctx, func() error {
		k, err := s.accessKey(ctx, access)
		if err != nil {
			return err
		}
		owner, err := s.user(ctx, k.User)
		if err != nil {
			return err
		}
		u := owner.Value.copy()
		u.Keys = slices.DeleteFunc(u.Keys, func(k userKey) bool { return k.Access == access })
		var c change
		if err := c.put(private.KindUsers, u.Name, owner.Revision, u); err != nil {
			return err
		}
		c.drop(private.KindAccessKeys, access)
		return s.docs.write(ctx, &c)
	})
}

// secretOf opens an access key's secret, once for each revision of its document.
func (s *Service) secretOf(ctx context.Context, k *accessKey) (string, error) {
	if opened := k.secret.Load(); opened != nil {
		return *opened, nil
	}
	sealing, err := s.sealing(ctx)
	if err != nil {
		return "", err
	}
	secret, err := sealing.open(k.Sealed, k.binding())
	if err != nil {
		return "", fmt.Errorf("%w: secret of access key %s: %w", ErrUnavailable, k.Access, err)
	}
	k.secret.Store(&secret)
	return secret, nil
}
