package rest

import "fmt"

// member is one of an object. A name that stands twice has the value of its last place.
type member struct {
	name string
	raw  []byte
}

// object is a request's body, or an object in it, outside the paths that have to be fast. Members that are null are not
// in it: they count as not given (DMS reference, D35).
type object []member

func (o object) get(name string) ([]byte, bool) {
	for _, m := range o {
		if m.name == name {
			return m.raw, true
		}
	}
	return nil, false
}

// membersLimit bounds what one object of a control request may have.
const membersLimit = 100

// shapeError says that a body is JSON, but not of the form that the call wants.
type shapeError struct{ text string }

func (e *shapeError) Error() string { return e.text }

func shape(format string, args ...any) error { return &shapeError{text: fmt.Sprintf(format, args...)} }

// object reads the next value, which has to be an object; what names it in errors.
func (c *cursor) object(what string) (object, error) {
	if b := c.peek(); b == 0 {
		return nil, c.fail("a value is missing")
	}
	if !c.enter('{') {
		if err := c.skip(); err != nil {
			return nil, err
		}
		return nil, shape("%s must be an object", what)
	}
	var o object
	for first := true; ; first = false {
		name, more, err := c.member(first)
		if err != nil {
			return nil, err
		}
		if !more {
			return o, nil
		}
		raw, err := c.value()
		if err != nil {
			return nil, err
		}
		if o = o.put(string(name), raw); len(o) > membersLimit {
			return nil, shape("%s has more than %d members", what, membersLimit)
		}
	}
}

func (o object) put(name string, raw []byte) object {
	for i := range o {
		if o[i].name == name {
			if isNull(raw) {
				return append(o[:i], o[i+1:]...)
			}
			o[i].raw = raw
			return o
		}
	}
	if isNull(raw) {
		return o
	}
	return append(o, member{name: name, raw: raw})
}

// document reads a whole body, which has to be an object.
func document(body []byte) (object, error) {
	if !validText(body) {
		return nil, errNotText
	}
	c := cursor{data: body}
	if c.peek(); c.at == len(body) {
		return nil, c.fail("the body is empty, an object is wanted")
	}
	o, err := c.object("the body")
	if err != nil {
		return nil, err
	}
	return o, c.end()
}

// text gives a string member; given is false when there is none.
func (o object) text(name string) (s string, given bool, err error) {
	raw, given := o.get(name)
	if !given {
		return "", false, nil
	}
	if !isText(raw) {
		return "", true, shape("%s must be a string", name)
	}
	return textOf(raw), true, nil
}

// list gives the elements of an array member, at most limit; given is false when there is none.
func (o object) list(name string, limit int) (elements [][]byte, given bool, err error) {
	raw, given := o.get(name)
	if !given {
		return nil, false, nil
	}
	c := cursor{data: raw}
	if !c.enter('[') {
		return nil, true, shape("%s must be an array", name)
	}
	for first := true; ; first = false {
		more, err := c.element(first)
		if err != nil || !more {
			return elements, true, err
		}
		if len(elements) == limit {
			return nil, true, shape("%s has more than %d elements", name, limit)
		}
		element, err := c.value()
		if err != nil {
			return nil, true, err
		}
		elements = append(elements, element)
	}
}

// objects gives the elements of an array member that has to hold objects.
func (o object) objects(name string, limit int) (elements []object, given bool, err error) {
	raws, given, err := o.list(name, limit)
	for i, raw := range raws {
		c := cursor{data: raw}
		element, err := c.object(fmt.Sprintf("%s[%d]", name, i))
		if err != nil {
			return nil, true, err
		}
		elements = append(elements, element)
	}
	return elements, given, err
}
