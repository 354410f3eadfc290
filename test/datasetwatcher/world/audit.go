package world

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
)

// A Request is what the watcher asked the API server for.
type Request struct {
	Verb, Group, Resource, Name string // Resource with its subresource: xdatasets/status
	Code                        int
}

// Requests returns every request of the watcher so far, from the audit log.
func (w *World) Requests() ([]Request, error) {
	f, err := os.Open(w.AuditLog)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it is only read
	all := []Request{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		e := struct {
			Verb string `json:"verb"`
			User struct {
				Username string `json:"username"`
			} `json:"user"`
			Object struct {
				Group       string `json:"apiGroup"`
				Resource    string `json:"resource"`
				Subresource string `json:"subresource"`
				Name        string `json:"name"`
			} `json:"objectRef"`
			Response struct {
				Code int `json:"code"`
			} `json:"responseStatus"`
		}{}
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			continue // a line that is being written
		}
		if e.User.Username != "system:serviceaccount:"+Namespace+":"+Name {
			continue
		}
		r := Request{e.Verb, e.Object.Group, e.Object.Resource, e.Object.Name, e.Response.Code}
		if e.Object.Subresource != "" {
			r.Resource += "/" + e.Object.Subresource
		}
		all = append(all, r)
	}
	return all, s.Err()
}

// Writes returns how many successful writes there were, by "verb resource".
func Writes(requests []Request) map[string]int {
	n := map[string]int{}
	for _, r := range requests {
		if slices.Contains([]string{"create", "update", "patch", "delete"}, r.Verb) && r.Code < 300 && !strings.HasPrefix(r.Resource, "leases") && !strings.HasPrefix(r.Resource, "events") {
			n[r.Verb+" "+r.Resource]++
		}
	}
	return n
}
