package group

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// isShare tells whether there is a share group of that id.
func (s *machine) isShare(r runtime.Reader, id string) (bool, error) {
	if s.shares[id] != nil {
		return true, nil
	}
	for _, kind := range []uint16{typeShareGroup, typeShareStates} {
		if _, there, err := r.Get(appendShareKey(nil, kind, id)); there || err != nil {
			return there, err
		}
	}
	return false, nil
}

// findShare is the share group of that id: the one in memory, or one made from its rows. nil if there is none.
func (s *machine) findShare(r runtime.Reader, id string) (*shareGroup, error) {
	if g := s.shares[id]; g != nil {
		return g, nil
	}
	there, err := s.isShare(r, id)
	if err != nil || !there {
		return nil, err
	}
	return s.storedShare(r, id)
}

// restoreShares brings the share groups with members, and those with states to change, back into memory. Members have a whole
// session to be heard of again.
func (s *machine) restoreShares(tx *runtime.Tx) error {
	names := map[string]bool{}
	err := tx.Scan([]byte{0, typeShareMember}, nil, func(key, _ []byte) bool {
		if group, _, ok := decodeShareKey(key); ok {
			names[group] = true
		}
		return true
	})
	if err != nil {
		return err
	}
	err = tx.Scan([]byte(rowShareWork), nil, func(key, _ []byte) bool {
		names[string(key[len(rowShareWork):])] = true
		return true
	})
	if err != nil {
		return err
	}
	for name := range names {
		g, err := s.storedShare(tx, name)
		if err != nil {
			return err
		}
		session := s.settings(name).SessionTimeout
		for id := range g.members {
			tx.Schedule(shareSessionTimer(g, id), tx.Now().Add(session))
		}
		if g.states.pending() {
			tx.Schedule(shareStatesTimer(name), tx.Now())
		}
		s.adoptShare(g)
	}
	return nil
}

// storedShare makes a share group from its rows. Of rows that cannot be read it takes what the group had at its beginning:
// members join again, and states are found where they are.
func (s *machine) storedShare(r runtime.Reader, id string) (*shareGroup, error) {
	g := newShareGroup(id)
	read := func(key []byte, decode func([]byte) error) error {
		value, ok, err := r.Get(key)
		if err != nil || !ok {
			return err
		}
		if err := decode(value); err != nil {
			s.log.Error("a share group's record cannot be read", zap.String("group", id), zap.Error(err))
		}
		return nil
	}
	err := read(appendShareKey(nil, typeShareGroup, id), func(b []byte) (err error) {
		epoch, hash, err := decodeShareGroup(b)
		if err == nil {
			g.epoch, g.hash = epoch, hash
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = read(appendShareKey(nil, typeShareTarget, id), func(b []byte) error {
		epoch, at, err := decodeShareTarget(b)
		if err == nil {
			g.assigned, g.assignedAt = epoch, at
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = read(appendShareKey(nil, typeShareStates, id), func(b []byte) error {
		v, err := decodeShareStates(b)
		if err == nil {
			g.states = statesOf(v)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return g, s.storedShareMembers(r, g, read)
}

func (s *machine) storedShareMembers(r runtime.Reader, g *shareGroup, read func([]byte, func([]byte) error) error) error {
	var failed error
	err := r.Scan(appendShareKey(nil, typeShareMember, g.id), nil, func(key, value []byte) bool {
		group, id, ok := decodeShareKey(key)
		if !ok || group != g.id {
			return true
		}
		m, err := decodeShareMember(id, value)
		if err != nil {
			s.log.Error("a share group's record cannot be read", zap.String("group", g.id), zap.Error(err))
			m = &shareMember{id: id}
		}
		g.members[id] = m
		return true
	})
	if err != nil {
		return fmt.Errorf("members of share group %q: %w", g.id, err)
	}
	for id, m := range g.members {
		failed = read(shareMemberKey(typeShareGiven, g.id, id), func(b []byte) error {
			a, err := decodeShareTargetMember(b)
			m.target = normalise(a)
			return err
		})
		if failed != nil {
			return failed
		}
		failed = read(shareMemberKey(typeShareCurrent, g.id, id), func(b []byte) error {
			epoch, previous, a, err := decodeShareCurrent(b)
			m.epoch, m.previous, m.current = epoch, previous, normalise(a)
			return err
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}
