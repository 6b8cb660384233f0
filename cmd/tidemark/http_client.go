package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// The environment that the commands over HTTP read. It does not begin as the broker's settings do: a broker that is started
// from the same shell is not to take them for its own.
const (
	envToken       = "DMS_TOKEN"
	envUser        = "DMS_USER"
	envPassword    = "DMS_PASSWORD"
	envNewPassword = "DMS_NEW_PASSWORD"
	envProject     = "DMS_PROJECT"
)

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 64 << 20

// answerTime is how long a broker may take to answer, what it was told to wait for aside.
const answerTime = 30 * time.Second

// httpClient calls a broker's HTTP listener as somebody.
type httpClient struct {
	address      string
	token        string
	user         string
	password     string
	passwordFile string
	in           io.Reader // of --password-file -
	getenv       func(string) string
	scope        string        // the project to log in for, by name or id; "": the user's first
	project      string        // the id of the one that was logged in for; "": none, or nobody did
	waiting      time.Duration // how long the broker is told to wait in the next calls
	json         bool          // answers are for programs
}

// httpFlags declares where the broker is and who asks.
func httpFlags(cmd *cobra.Command) *httpClient {
	c := &httpClient{getenv: os.Getenv}
	f := cmd.PersistentFlags()
	f.StringVar(&c.address, "http", "http://127.0.0.1:9080", "`URL` of a broker's HTTP listener")
	f.StringVar(&c.token, "token", "", "a `token` (or "+envToken+"); a broker without users needs none")
	f.StringVar(&c.user, "user", "", "log in as this `user` (or "+envUser+"), with the password in "+envPassword+" or --password-file")
	f.StringVar(&c.passwordFile, "password-file", "", "`file` with the password in its first line; - for standard input")
	f.StringVar(&c.password, "password", "", "the `password`; others on this machine can see it")
	f.BoolVar(&c.json, "json", false, "answer with one JSON object, for programs")
	return c
}

// connect settles who asks: a token, or a user who is logged in now, or nobody.
func (c *httpClient) connect(ctx context.Context, in io.Reader) error {
	c.in = in
	at, err := url.Parse(c.address)
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return fmt.Errorf("--http %q: want a URL, as in http://127.0.0.1:9080", c.address)
	}
	c.address = strings.TrimRight(c.address, "/")
	c.token = cmp.Or(c.token, c.getenv(envToken))
	c.user = cmp.Or(c.user, c.getenv(envUser))
	if c.token != "" || c.user == "" {
		return nil
	}
	password := cmp.Or(c.password, c.getenv(envPassword))
	if c.passwordFile != "" {
		if password, err = c.secretLine(c.passwordFile); err != nil {
			return fmt.Errorf("--password-file: %w", err)
		}
	}
	if password == "" {
		return fmt.Errorf("no password for user %s: set %s, or name a file with --password-file (- is standard input)", c.user, envPassword)
	}
	return c.logIn(ctx, password)
}

func (c *httpClient) logIn(ctx context.Context, password string) error {
	err := c.takeToken(ctx, fields{"methods": []string{"password"}, "password": fields{"user": fields{"name": c.user, "password": password}}})
	if err != nil {
		return fmt.Errorf("log in as %s: %w", c.user, err)
	}
	return nil
}

// fields are an object of a request.
type fields = map[string]any

// tokenView is what is looked at of a description of a token.
type tokenView struct {
	Token struct {
		Project struct {
			ID string `json:"id"`
		} `json:"project"`
	} `json:"token"`
}

// takeToken asks for a token with that proof of who it is, and goes on with it.
func (c *httpClient) takeToken(ctx context.Context, proof fields) error {
	auth := fields{"identity": proof}
	if c.scope != "" {
		auth["scope"] = fields{"project": fields{"name": c.scope}}
	}
	header, text, err := c.do(ctx, http.MethodPost, "/v3/auth/tokens?nocatalog", fields{"auth": auth})
	if err != nil {
		return err
	}
	var said tokenView
	if c.token = header.Get("X-Subject-Token"); c.token == "" || json.Unmarshal(text, &said) != nil {
		return fmt.Errorf("the answer has no token; is %s a Tidemark broker?", c.address)
	}
	c.project = said.Token.Project.ID
	return nil
}

// secretLine reads the first line of a file, or of standard input.
func (c *httpClient) secretLine(path string) (string, error) {
	in := c.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 4096))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", errors.New("the first line is empty")
	}
	return line, nil
}

// call sends a request with a JSON body (nil: none) and decodes the answer (nil: not looked at).
func (c *httpClient) call(ctx context.Context, method, path string, body, answer any) error {
	_, text, err := c.do(ctx, method, path, body)
	if err != nil || answer == nil {
		return err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s: the answer is not what was expected: %w", c.address, err)
	}
	return nil
}

// do sends a request; a body that is json.RawMessage goes as it is. headers are further ones, names and values in turn.
func (c *httpClient) do(ctx context.Context, method, path string, body any, headers ...string) (http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.waiting+answerTime)
	defer cancel()
	var sent io.Reader
	if text, asItIs := body.(json.RawMessage); asItIs {
		sent = bytes.NewReader(text)
	} else if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, nil, err
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.address+path, sent)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("X-Auth-Token", c.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("no broker answers at %s: %w; is it running, and is --http right?", c.address, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.address, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, nil, c.refusal(resp, text)
	}
	return resp.Header, text, nil
}

// httpRefusal is a broker's no, in its own words.
type httpRefusal struct {
	status  int
	code    string // as "DMS.10240401"; "" where it has none
	message string
}

func (r *httpRefusal) Error() string { return r.message }

// isRefusal tells whether an error is a broker's no with that code.
func isRefusal(err error, code string) bool {
	var r *httpRefusal
	return errors.As(err, &r) && r.code == code
}

// refusal says why a broker did not do something.
func (c *httpClient) refusal(resp *http.Response, text []byte) error {
	var said struct {
		Code    string `json:"error_code"`
		Message string `json:"error_msg"`
	}
	if err := json.Unmarshal(text, &said); err != nil || said.Message == "" {
		said.Message = resp.Status
	}
	if resp.StatusCode == http.StatusUnauthorized && c.token == "" && c.user == "" {
		return fmt.Errorf("%s; this broker has users: log in with --user and %s, or give a --token", strings.TrimRight(said.Message, "."), envPassword)
	}
	return &httpRefusal{status: resp.StatusCode, code: said.Code, message: said.Message}
}

// over makes what a command does from what it does over HTTP.
func (c *httpClient) over(run func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := c.connect(cmd.Context(), cmd.InOrStdin()); err != nil {
			return err
		}
		return run(cmd.Context(), cmd, args)
	}
}

// deleteEach deletes things by what the object of --json calls key, and says so of each.
func (c *httpClient) deleteEach(what, key, path string) func(context.Context, *cobra.Command, []string) error {
	return func(ctx context.Context, cmd *cobra.Command, names []string) error {
		r := c.report(cmd.OutOrStdout(), "deleted")
		for _, name := range names {
			if err := c.call(ctx, http.MethodDelete, path+url.PathEscape(name), nil, nil); err != nil {
				r.missed(fields{key: name}, fmt.Errorf("%s %s: %w", what, name, err))
				continue
			}
			r.did(fields{key: name}, "deleted %s", name)
		}
		return r.end()
	}
}
