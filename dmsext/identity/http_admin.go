package identity

import (
	"net/http"

	"go.uber.org/zap"
)

// The administration: what `tidemark project`, `user` and `access-key` call. Bodies are JSON; a list stands under its plural.

// as runs an administrative operation for who may do it, and answers with what it returns; nil: nothing to say.
func (s *Service) as(w http.ResponseWriter, r *http.Request, body []byte, status int, op func(bootstrap bool) (any, error)) error {
	by, err := s.administer(r, body)
	if err != nil {
		return err
	}
	answer, err := op(by == "")
	if err != nil {
		return err
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.log.Info("identity changed", zap.String("method", r.Method), zap.String("path", clip(r.URL.Path)), zap.String("by", by), zap.String("from", r.RemoteAddr))
	}
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return writeJSON(w, status, answer)
}

func (s *Service) adminListProjects(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, http.StatusOK, func(bool) (any, error) {
		list, err := s.Projects(r.Context())
		return map[string]any{"projects": list}, err
	})
}

func (s *Service) adminCreateProject(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, http.StatusCreated, func(bool) (any, error) {
		var n NewProject
		if err := readJSON(body, &n); err != nil {
			return nil, err
		}
		return s.CreateProject(r.Context(), n)
	})
}

func (s *Service) adminShowProject(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, http.StatusOK, func(bool) (any, error) { return s.Project(r.Context(), r.PathValue("id")) })
}

func (s *Service) adminDeleteProject(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, 0, func(bool) (any, error) { return nil, s.DeleteProject(r.Context(), r.PathValue("id")) })
}

func (s *Service) adminListUsers(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, http.StatusOK, func(bool) (any, error) {
		list, err := s.Users(r.Context())
		return map[string]any{"users": list}, err
	})
}

func (s *Service) adminCreateUser(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, http.StatusCreated, func(bootstrap bool) (any, error) {
		var n NewUser
		if err := readJSON(body, &n); err != nil {
			return nil, err
		}
		// Two who both saw no user must not both come in without credentials.
		n.OnlyFirst = bootstrap
		return s.CreateUser(r.Context(), n)
	})
}

func (s *Service) adminShowUser(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, http.StatusOK, func(bool) (any, error) { return s.User(r.Context(), r.PathValue("name")) })
}

func (s *Service) adminChangeUser(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, http.StatusOK, func(bool) (any, error) {
		var ch UserChange
		if err := readJSON(body, &ch); err != nil {
			return nil, err
		}
		return s.ChangeUser(r.Context(), r.PathValue("name"), ch)
	})
}

func (s *Service) adminDeleteUser(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, 0, func(bool) (any, error) { return nil, s.DeleteUser(r.Context(), r.PathValue("name")) })
}

func (s *Service) adminListKeys(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, http.StatusOK, func(bool) (any, error) {
		list, err := s.AccessKeys(r.Context(), r.URL.Query().Get("user"))
		return map[string]any{"access_keys": list}, err
	})
}

func (s *Service) adminCreateKey(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, http.StatusCreated, func(bool) (any, error) {
		var n NewAccessKey
		if err := readJSON(body, &n); err != nil {
			return nil, err
		}
		k, secret, err := s.CreateAccessKey(r.Context(), n)
		return struct {
			AccessKey
			Secret string `json:"secret"`
		}{k, secret}, err
	})
}

func (s *Service) adminShowKey(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, http.StatusOK, func(bool) (any, error) { return s.AccessKey(r.Context(), r.PathValue("access")) })
}

func (s *Service) adminDeleteKey(w http.ResponseWriter, r *http.Request, body []byte) error {
	return s.as(w, r, body, 0, func(bool) (any, error) { return nil, s.DeleteAccessKey(r.Context(), r.PathValue("access")) })
}
