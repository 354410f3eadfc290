// Package gitea reads and writes the files of one repository through Gitea's REST
// API. Every write names what it replaces, so that nobody's work is overwritten.
package gitea

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// ErrConflict says that the repository moved under a commit, or that a commit
// whose answer was lost had already been made. Reading anew settles both.
var ErrConflict = errors.New("the repository has changed since it was read")

// A Change of one file. Before is the SHA of the file that is replaced or deleted,
// "" for a new one; After is nil for a deletion.
type Change struct {
	Path   string
	Before string
	After  []byte
}

// A Client writes a repository behind Gitea's REST API (1.20 or later, and Forgejo).
type Client struct {
	repository string // URL of the API's repository, without a slash at the end
	branch     string
	token      func() (string, error)
	http       *http.Client
	limit      *rate.Limiter
	wait       func(context.Context, time.Duration) error
}

const (
	// attempts and backoff bound how long one request is tried: with jitter at most
	// 1, 2 and 4 seconds between four attempts. The watcher tries again at its next pass.
	attempts = 4
	backoff  = time.Second
	// longestPause is the longest Retry-After that is waited for.
	longestPause = 30 * time.Second
	// requestTimeout bounds one attempt. Gitea takes seconds for a hundred files.
	requestTimeout = 30 * time.Second
	// answerLimit is more than any answer has: a page of a thousand files is 250 KB.
	answerLimit = 16 << 20
	// treePage is how many files Gitea lists at once, by default at most.
	treePage = 1000
)

// New returns the repository <owner>/<name> of a Gitea at a base URL. The
// token is asked for at each request, so that a rotated one works at once; it
// stands in no log and no error.
func New(base, repository, branch string, token func() (string, error), perSecond float64) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the Git URL must be http(s)://<host>, the address of Gitea itself")
	}
	if u.User != nil {
		return nil, errors.New("the Git URL must not hold credentials: put the token into the token file")
	}
	owner, name, ok := strings.Cut(repository, "/")
	if !ok || owner == "" || name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("the Git repository %q must be <owner>/<name>", repository)
	}
	if branch == "" {
		return nil, errors.New("the Git branch is empty: name the branch that Backstage reads, for example main")
	}
	return &Client{
		repository: u.JoinPath("api/v1/repos", owner, name).String(),
		branch:     branch,
		token:      token,
		http: &http.Client{
			Timeout: requestTimeout,
			// A redirect could carry the token to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		limit: rate.NewLimiter(rate.Limit(perSecond), 5),
		wait:  wait,
	}, nil
}

// Head returns the id of the branch's last commit, or "" while the repository is empty.
func (g *Client) Head(ctx context.Context) (string, error) {
	b := struct {
		Commit struct {
			ID string `json:"id"`
		} `json:"commit"`
	}{}
	err := g.get(ctx, "/branches/"+url.PathEscape(g.branch), &b)
	if !isStatus(err, http.StatusNotFound) {
		return b.Commit.ID, err
	}
	r := struct {
		Empty bool `json:"empty"`
	}{}
	switch err := g.get(ctx, "", &r); {
	case isStatus(err, http.StatusNotFound):
		return "", errors.New("the repository does not exist, or the token may not see it: create it and give the token's user write access; a GitLab or a GitHub of your own answers so, too, and only a Gitea or a Forgejo will do")
	case err != nil:
		return "", err
	case !r.Empty:
		return "", fmt.Errorf("the repository has no branch %q: create it, or choose another one", g.branch)
	}
	return "", nil
}

// Tree returns the SHA of each file directly in a folder at a commit, by path. A
// folder that does not exist has none.
func (g *Client) Tree(ctx context.Context, commit, folder string) (map[string]string, error) {
	sha := commit
	for part := range strings.SplitSeq(folder, "/") {
		if part == "" {
			continue
		}
		entries, err := g.entries(ctx, sha)
		if err != nil {
			return nil, err
		}
		sha = ""
		for _, e := range entries {
			if e.Type == "tree" && e.Path == part {
				sha = e.SHA
			}
		}
		if sha == "" {
			return map[string]string{}, nil
		}
	}
	entries, err := g.entries(ctx, sha)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, e := range entries {
		if e.Type == "blob" {
			files[path.Join(folder, e.Path)] = e.SHA
		}
	}
	return files, nil
}

type treeEntry struct {
	Path string `json:"path"`
	Type string `json:"type"`
	SHA  string `json:"sha"`
}

func (g *Client) entries(ctx context.Context, sha string) ([]treeEntry, error) {
	all := []treeEntry{}
	for page := 1; ; page++ {
		t := struct {
			Tree      []treeEntry `json:"tree"`
			Truncated bool        `json:"truncated"`
		}{}
		if err := g.get(ctx, fmt.Sprintf("/git/trees/%s?page=%d&per_page=%d", url.PathEscape(sha), page, treePage), &t); err != nil {
			return nil, err
		}
		all = append(all, t.Tree...)
		if !t.Truncated || len(t.Tree) == 0 {
			return all, nil
		}
	}
}

// Blob returns a file by its SHA.
func (g *Client) Blob(ctx context.Context, sha string) ([]byte, error) {
	b := struct {
		Content string `json:"content"`
	}{}
	if err := g.get(ctx, "/git/blobs/"+url.PathEscape(sha), &b); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(b.Content)
}

// Commit makes all changes in one commit.
func (g *Client) Commit(ctx context.Context, message string, changes []Change) error {
	err := g.write(ctx, message, changes, nil)
	if isStatus(err, http.StatusUnprocessableEntity) && !slices.ContainsFunc(changes, func(c Change) bool { return c.Before != "" }) {
		if err := g.wake(ctx); err != nil {
			return fmt.Errorf("cannot make Gitea see what is in the repository: %w", err)
		}
	}
	// 422 is a file whose SHA is another one, or that exists already; 404 one that
	// was deleted; 409 a branch that moved. Releases differ in which they choose.
	// Of two writers at the same instant the slower one is told 403, as if it had no
	// right to write (1.26.0).
	if isStatus(err, http.StatusConflict) || isStatus(err, http.StatusUnprocessableEntity) || isStatus(err, http.StatusNotFound) || lostRace(err) {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// wake makes Gitea see what is in a repository that it still takes for empty: if the
// caller of the first commit leaves in its middle, the files are there and Gitea's record
// of them is not (1.26.0). Then nobody can read them, and nobody who reads first can write
// again. Any commit that succeeds sets it right.
func (g *Client) wake(ctx context.Context) error {
	r := struct {
		Empty bool `json:"empty"`
	}{}
	if err := g.get(ctx, "", &r); err != nil || !r.Empty {
		return err
	}
	made := struct {
		Files []struct {
			SHA string `json:"sha"`
		} `json:"files"`
	}{}
	file := fmt.Sprintf(".wake-%016x", rand.Uint64()) //nolint:gosec // a name that nobody has
	if err := g.write(ctx, "wake the repository", []Change{{Path: file, After: []byte("\n")}}, &made); err != nil {
		return err
	}
	if len(made.Files) != 1 {
		return nil // it stays, and is in nobody's way
	}
	return g.write(ctx, "the repository is awake", []Change{{Path: file, Before: made.Files[0].SHA}}, nil)
}

// write makes all changes in one commit, and decodes the answer.
func (g *Client) write(ctx context.Context, message string, changes []Change, into any) error {
	type file struct {
		Operation string `json:"operation"`
		Path      string `json:"path"`
		Content   string `json:"content,omitempty"`
		SHA       string `json:"sha,omitempty"`
	}
	body := struct {
		Branch  string `json:"branch"`
		Message string `json:"message"`
		Files   []file `json:"files"`
	}{Branch: g.branch, Message: message}
	for _, c := range changes {
		f := file{Operation: "update", Path: c.Path, SHA: c.Before, Content: base64.StdEncoding.EncodeToString(c.After)}
		switch {
		case c.After == nil:
			f.Operation = "delete"
		case c.Before == "":
			f.Operation = "create"
		}
		body.Files = append(body.Files, f)
	}
	return g.do(ctx, http.MethodPost, "/contents", body, into)
}

// Delete deletes the whole repository. One that is not there counts as deleted.
func (g *Client) Delete(ctx context.Context) error {
	err := g.do(ctx, http.MethodDelete, "", nil, nil)
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// Exists says whether the repository is there and the token may see it.
func (g *Client) Exists(ctx context.Context) (bool, error) {
	err := g.get(ctx, "", &struct{}{})
	if isStatus(err, http.StatusNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Created is when the repository was made.
func (g *Client) Created(ctx context.Context) (time.Time, error) {
	var r struct {
		Created time.Time `json:"created_at"` //nolint:tagliatelle // Gitea's name
	}
	err := g.get(ctx, "", &r)
	return r.Created, err
}

func (g *Client) get(ctx context.Context, path string, into any) error {
	return g.do(ctx, http.MethodGet, path, nil, into)
}

// A statusError is an answer that is no success.
type statusError struct {
	status  int
	message string
	after   time.Duration // how long the server wants to be left alone; 0: it did not say
}

func (e *statusError) Error() string {
	s := fmt.Sprintf("Gitea answered %d %s", e.status, http.StatusText(e.status))
	if e.message != "" {
		s += ": " + e.message
	}
	switch e.status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		s += ": redirects are not followed, so that the token stays with its host; set the Git URL and repository to the address that is meant"
	case http.StatusUnauthorized:
		s += ": renew the token in the Secret"
	case http.StatusForbidden:
		s += ": the token needs write access to the repository, and the branch must not be protected against its user"
	}
	return s
}

// lostRace says whether Gitea refused a commit because another one came first.
func lostRace(err error) bool {
	s := (*statusError)(nil)
	return errors.As(err, &s) && s.status == http.StatusForbidden && strings.Contains(s.message, "cannot lock ref")
}

func isStatus(err error, status int) bool {
	s := (*statusError)(nil)
	return errors.As(err, &s) && s.status == status
}

// do sends a request, and again while the server says that it can't answer now.
func (g *Client) do(ctx context.Context, method, path string, body, into any) error {
	payload := []byte{}
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return err
		}
	}
	for attempt := 1; ; attempt++ {
		if err := g.limit.Wait(ctx); err != nil {
			return err
		}
		err := g.once(ctx, method, path, payload, into)
		s := (*statusError)(nil)
		answered := errors.As(err, &s)
		final := err == nil || ctx.Err() != nil || errors.Is(err, errNoToken) ||
			answered && s.status < 500 && s.status != http.StatusTooManyRequests && s.status != http.StatusRequestTimeout
		if final || attempt == attempts {
			return err
		}
		pause := backoff << (attempt - 1)
		pause = pause/2 + rand.N(pause/2) //nolint:gosec // jitter
		if answered && s.after > 0 {
			pause = min(s.after, longestPause)
		}
		if err := g.wait(ctx, pause); err != nil {
			return err
		}
	}
}

var errNoToken = errors.New("cannot read the Git token")

func (g *Client) once(ctx context.Context, method, path string, payload []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, g.repository+path, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	token, err := g.token()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoToken, err)
	}
	req.Header.Set("Authorization", "token "+token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "whisperops")
	if len(payload) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	rsp, err := g.http.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close() //nolint:errcheck // nothing is written
	data, err := io.ReadAll(io.LimitReader(rsp.Body, answerLimit))
	if err != nil {
		return fmt.Errorf("cannot read Gitea's answer: %w", err)
	}
	if rsp.StatusCode < 200 || rsp.StatusCode > 299 {
		return &statusError{status: rsp.StatusCode, message: messageOf(data), after: retryAfter(rsp.Header)}
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("cannot decode Gitea's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// messageOf returns what an error document says, as one short line.
func messageOf(data []byte) string {
	m := struct {
		Message string `json:"message"`
	}{}
	if json.Unmarshal(data, &m) != nil {
		return "" // a web page, most of the time
	}
	s := strings.Join(strings.Fields(m.Message), " ")
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return s
}

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, 3600)) * time.Second
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
