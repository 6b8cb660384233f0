package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// PowerCut answers a new file system as a power cut at this moment could leave
// it. The seed picks what of the unsynced survives; the same seed on the same
// history picks the same. Everything in the answer is durable, no lock is held
// there, and this file system stays as it was (cut it to end its users).
func (c *Crash) PowerCut(seed uint64) *Crash {
	return c.powerCut(func(id uint64) fate {
		return fate{rng: rand.New(rand.NewPCG(seed, c.seed*0x9e3779b97f4a7c15+id))}
	})
}

// PowerCutAll is PowerCut when all that was not synced is lost.
func (c *Crash) PowerCutAll() *Crash {
	return c.powerCut(func(uint64) fate { return fate{mode: loseAll} })
}

// PowerCutNone is PowerCut when nothing is lost, by luck.
func (c *Crash) PowerCutNone() *Crash {
	return c.powerCut(func(uint64) fate { return fate{mode: keepAll} })
}

// Kill answers a new file system as the end of the process alone leaves it:
// all that was written is there, and what was not synced may still be lost by a
// power cut. No lock is held there.
func (c *Crash) Kill() *Crash {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &killed{to: NewCrash(c.seed), seen: map[*node]*node{}}
	k.seen[c.root] = k.to.root
	k.copyNames(c.root, k.to.root)
	for _, op := range c.names {
		parts := slices.Clone(op.parts)
		for i := range parts {
			parts[i].dir, parts[i].to = k.copy(parts[i].dir), k.copy(parts[i].to)
		}
		k.to.names = append(k.to.names, &nameOp{parts: parts})
	}
	return k.to
}

// killed is a copy in the making of everything that a name, or an unsynced
// operation on names, can lead to.
type killed struct {
	to   *Crash
	seen map[*node]*node
}

func (k *killed) copy(n *node) *node {
	if n == nil || k.seen[n] != nil {
		return k.seen[n]
	}
	m := k.to.newNode(n.dir)
	k.seen[n] = m
	m.modTime = n.modTime
	m.cur, m.dur = n.cur.share(), n.dur.share()
	m.changes, m.forgot = slices.Clone(n.changes), n.forgot
	n.gen = newGeneration() // its pages are shared now
	k.copyNames(n, m)
	return m
}

func (k *killed) copyNames(n, m *node) {
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		m.entries[name] = k.copy(n.entries[name])
	}
	for _, name := range slices.Sorted(maps.Keys(n.durable)) {
		m.durable[name] = k.copy(n.durable[name])
	}
}

// A fate decides what is kept of the unsynced changes of one file, or of the
// unsynced operations on names.
type fate struct {
	mode fateMode
	rng  *rand.Rand // mode byChance only
}

type fateMode int

const (
	byChance fateMode = iota
	loseAll
	keepAll
)

// namesFate is the id under which the fate of name operations is drawn; nodes
// count from 1.
const namesFate = 0

func (c *Crash) powerCut(fateOf func(id uint64) fate) *Crash {
	c.mu.Lock()
	defer c.mu.Unlock()
	cut := &powerCut{
		to:     NewCrash(c.seed),
		names:  map[*node]map[string]*node{},
		seen:   map[*node]*node{},
		fateOf: fateOf,
	}
	cut.applyNames(c.names, fateOf(namesFate))
	cut.copyDir(c.root, cut.to.root)
	return cut.to
}

// powerCut is the copy in the making that a power cut leaves.
type powerCut struct {
	to     *Crash
	names  map[*node]map[string]*node // of directories that differ from their durable names
	seen   map[*node]*node
	fateOf func(id uint64) fate
}

// applyNames brings the operations that survive onto the durable names: all,
// none, the oldest ones, or each by the toss of a coin.
func (p *powerCut) applyNames(ops []*nameOp, f fate) {
	first, chance := 0, 0.0 // ops before first survive, those after by chance
	switch f.mode {
	case loseAll:
		return
	case keepAll:
		first = len(ops)
	case byChance:
		switch f.rng.IntN(4) {
		case 0:
			chance = 0.5
		case 1:
			chance = f.rng.Float64()
		default:
			first = f.rng.IntN(len(ops) + 1)
		}
	}
	for i, op := range ops {
		if i >= first && (chance == 0 || f.rng.Float64() >= chance) {
			continue
		}
		for _, part := range op.parts {
			if !part.dead {
				setName(p.namesOf(part.dir), part.name, part.to)
			}
		}
	}
}

func (p *powerCut) namesOf(dir *node) map[string]*node {
	if p.names[dir] == nil {
		p.names[dir] = maps.Clone(dir.durable)
	}
	return p.names[dir]
}

func (p *powerCut) copyDir(n, m *node) {
	p.seen[n] = m
	names := n.durable
	if changed := p.names[n]; changed != nil {
		names = changed
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		child := names[name]
		copied := p.seen[child]
		switch {
		case copied == nil && child.dir:
			copied = p.to.newNode(true)
			p.copyDir(child, copied)
		case copied == nil:
			copied = p.copyFile(child)
		case child.dir:
			continue // a directory moved twice keeps one place
		}
		m.entries[name], m.durable[name] = copied, copied
	}
}

func (p *powerCut) copyFile(n *node) *node {
	m := p.to.newNode(false)
	p.seen[n] = m
	m.modTime = n.modTime
	if f := p.fateOf(n.id); f.mode == keepAll && !n.forgot {
		m.dur = n.cur.share()
		n.gen = newGeneration() // its pages are shared now
	} else {
		m.dur = n.survivor(f)
	}
	m.cur = m.dur.share()
	return m
}
