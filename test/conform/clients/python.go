package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
)

// python is confluent-kafka of PyPI (librdkafka), run by the interpreter of a virtual
// environment that has it.
type python struct{ addr, interpreter, script string }

func (python) name() string { return "confluent-kafka" }

type pythonRec struct {
	Key       []byte           `json:"key"`
	Value     []byte           `json:"value"`
	Headers   [][2]*pythonText `json:"headers"`
	Timestamp int64            `json:"timestamp"`
}

// pythonText is bytes as base64, so that any value survives.
type pythonText = []byte

func (p python) produce(ctx context.Context, topic, codec string, recs []rec) error {
	var in bytes.Buffer
	e := json.NewEncoder(&in)
	for _, r := range recs {
		k := pythonRec{Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
		for _, h := range r.Headers {
			name, value := []byte(h.Key), h.Value
			pair := [2]*pythonText{&name, nil}
			if value != nil {
				pair[1] = &value
			}
			k.Headers = append(k.Headers, pair)
		}
		if err := e.Encode(k); err != nil {
			return err
		}
	}
	_, err := p.run(ctx, &in, "produce", p.addr, topic, codec)
	return err
}

func (p python) consume(ctx context.Context, topic, group string, n int) ([]rec, error) {
	out, err := p.run(ctx, nil, "consume", p.addr, topic, group, fmt.Sprint(n))
	if err != nil {
		return nil, err
	}
	var recs []rec
	d := json.NewDecoder(bytes.NewReader(out))
	for d.More() {
		var k pythonRec
		if err := d.Decode(&k); err != nil {
			return recs, err
		}
		r := rec{Key: k.Key, Value: k.Value, Timestamp: k.Timestamp}
		for _, h := range k.Headers {
			one := header{Key: string(*h[0])}
			if h[1] != nil {
				one.Value = *h[1]
			}
			r.Headers = append(r.Headers, one)
		}
		recs = append(recs, r)
	}
	return recs, nil
}

func (p python) run(ctx context.Context, in *bytes.Buffer, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.interpreter, append([]string{p.script}, args...)...)
	if in != nil {
		cmd.Stdin = in
	}
	var out, fail bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &fail
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", args[0], err, fail.String())
	}
	return out.Bytes(), nil
}
