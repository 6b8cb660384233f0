package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// With --json a command over HTTP writes one JSON object, which says what was done. Of commands that do one thing after
// another it lists what was done and what was not; the errors are told on standard error as well, and by the exit code.

// print writes a value as one line of JSON, with what programs sent in it as it was.
func (c *httpClient) print(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// report is what a command has done, one thing after another: a line each for people, an object of all for programs.
type report struct {
	c      *httpClient
	out    io.Writer
	verb   string // what the object calls those that were done
	done   []fields
	failed []fields
	errs   []error
}

func (c *httpClient) report(out io.Writer, verb string) *report {
	return &report{c: c, out: out, verb: verb, done: []fields{}, failed: []fields{}}
}

// did notes something that was done; the line is format with args.
func (r *report) did(what fields, format string, args ...any) {
	if r.c.json {
		r.done = append(r.done, what)
		return
	}
	fmt.Fprintf(r.out, format+"\n", args...)
}

// missed notes something that was not done.
func (r *report) missed(what fields, err error) {
	what["error"] = err.Error()
	r.failed, r.errs = append(r.failed, what), append(r.errs, err)
}

// end writes the object, and answers the errors of all that was not done.
func (r *report) end() error {
	if r.c.json {
		r.errs = append(r.errs, r.c.print(r.out, fields{r.verb: r.done, "failed": r.failed}))
	}
	return errors.Join(r.errs...)
}

// jsonList writes an object with a list whose elements are not all known, or would be too many to keep: each is written as
// it comes.
type jsonList struct {
	out   io.Writer
	name  string
	count int
}

func (l *jsonList) add(v any) error {
	var b bytes.Buffer
	if l.count == 0 {
		fmt.Fprintf(&b, `{%q:[`, l.name)
	} else {
		b.WriteByte(',')
	}
	l.count++
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := l.out.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return err
}

// member is a further member of the object, a number.
type member struct {
	name  string
	value int
}

// end closes the list, puts members behind it and closes the object.
func (l *jsonList) end(members ...member) error {
	var b bytes.Buffer
	if l.count == 0 {
		fmt.Fprintf(&b, `{%q:[`, l.name)
	}
	b.WriteByte(']')
	for _, m := range members {
		fmt.Fprintf(&b, `,%q:%d`, m.name, m.value)
	}
	b.WriteString("}\n")
	_, err := l.out.Write(b.Bytes())
	return err
}
