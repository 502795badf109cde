package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The bounds of an answer. A page of 500 of the largest records there can be
// stays below both; a small answer of many empty records, which would fill the
// memory, does not.
const (
	maxAnswer = 8 << 20 // bytes
	maxCommas = 300_000
)

// ErrForeign is an answer that is no refusal and not what was asked for.
var ErrForeign = errors.New("the answer is not the JSON that was expected: is this a Mintmark server?")

// Client calls one server. Its methods may be called concurrently; a refusal is
// an [*Error], anything else did not come from the server.
type Client struct {
	base  *url.URL
	http  *http.Client
	token func() Secret
}

// NewClient makes a client of the server at base, "http" or "https" with an
// optional path. h is copied and says how long a call may take; for a Unix socket
// it has a transport that dials it. token gives the bearer token of each call;
// nil, or a Secret without text, sends none.
//
// No redirect is ever followed, so a token reaches the server that was named
// and no other; no cookie is kept.
func NewClient(base string, h *http.Client, token func() Secret) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("the server's address is not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the server's address is http:// or https://, a host and at most a path")
	}
	own := *h
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Jar = nil
	return &Client{base: u, http: &own, token: token}, nil
}

// call is one request; in and out may be nil.
type call struct {
	method, path   string
	query          url.Values
	in, out        any
	idempotencyKey string
}

func (c *Client) do(ctx context.Context, k call) error {
	req, err := c.request(ctx, k)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address is the caller's to name; the rest says nothing
		}
		return fmt.Errorf("calling the server: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxAnswer || bytes.Count(body, []byte{','}) > maxCommas {
		return errors.New("the answer is too large")
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refusal(resp, body)
	}
	return take(body, k.out)
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	var body io.Reader
	if k.in != nil {
		data, err := json.Marshal(k.in)
		if err != nil {
			return nil, errors.New("the request cannot be written as JSON")
		}
		body = bytes.NewReader(data)
	}
	for segment := range strings.SplitSeq(k.path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return nil, errors.New("nothing can have that name") // and it would lead to another address
		}
	}
	target := c.base.JoinPath(k.path)
	target.RawQuery = k.query.Encode()
	req, err := http.NewRequestWithContext(ctx, k.method, target.String(), body)
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	req.Header.Set("Accept", "application/json")
	if k.in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if k.idempotencyKey != "" {
		req.Header.Set("Idempotency-Key", k.idempotencyKey)
	}
	if c.token != nil {
		if text := c.token().Unsafe(); text != "" {
			if strings.ContainsAny(text, " ,\t\r\n") {
				return nil, errors.New("the token has characters that no token has")
			}
			req.Header.Set("Authorization", "Bearer "+text)
		}
	}
	return req, nil
}

func take(body []byte, out any) error {
	switch out := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*out = body
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return ErrForeign
	}
	return nil
}

func refusal(resp *http.Response, body []byte) error {
	e := &Error{
		Status: resp.StatusCode, RequestID: resp.Header.Get("X-Request-Id"),
		Title: strings.ToLower(http.StatusText(resp.StatusCode)),
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p Problem
	if media != ProblemType || json.Unmarshal(body, &p) != nil {
		e.Detail = fmt.Sprintf("the server answered %d and not as Mintmark does", resp.StatusCode) // and Code is ""
		return e
	}
	e.Code, e.Title, e.Detail = inert(p.Code), inert(p.Title), inert(p.Detail)
	for _, f := range p.Errors {
		e.Fields = append(e.Fields, FieldProblem{inert(f.Field), inert(f.Code), inert(f.Detail)})
	}
	if p.RequestID != "" {
		e.RequestID = p.RequestID
	}
	e.RequestID = inert(e.RequestID)
	return e
}

// inert takes from a server's text what would move a terminal (CWE-150).
func inert(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
