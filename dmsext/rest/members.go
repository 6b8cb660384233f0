package rest

// eachMember goes over the members of the object that a body is, in one pass; fn takes or skips each member's value.
func eachMember(body []byte, fn func(name []byte, c *cursor) error) error {
	if !validText(body) {
		return errNotText
	}
	c := cursor{data: body}
	if c.peek(); c.at == len(body) {
		return c.fail("the body is empty, an object is wanted")
	}
	if !c.enter('{') {
		if err := c.skip(); err != nil {
			return err
		}
		return shape("the body must be an object")
	}
	for first := true; ; first = false {
		name, more, err := c.member(first)
		if err != nil {
			return err
		}
		if !more {
			return c.end()
		}
		if err := fn(name, &c); err != nil {
			return err
		}
	}
}
