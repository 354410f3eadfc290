package fetchspend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"

	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/golden"
)

// TestGolden runs the stories of testdata. Each asks the server at
// http://prometheus/<its folder>, which gives the answers in the story's
// answers.yaml, one for each query, in order. It is 10:00:20 on 23 November 2026.
func TestGolden(t *testing.T) {
	srv := &storyServer{t: t, dir: "testdata", asked: map[string]int{}}
	golden.Run(t, NewWith(logging.NewNopLogger(), storyClock, srv.connect), "testdata")
	for story, n := range srv.asked {
		if a := srv.answers(story); n != len(a) {
			t.Errorf("story %s: the server was asked %d times and has %d answers", story, n, len(a))
		}
	}
}

func storyClock() time.Time { return time.Date(2026, 11, 23, 10, 0, 20, 0, time.UTC) }

type storyServer struct {
	t     *testing.T
	dir   string
	mu    sync.Mutex
	asked map[string]int
}

// A storyAnswer is either an HTTP status and a body, or series. Samples are
// values by time, "09:58:30" being one of that day.
type storyAnswer struct {
	Query  string `json:"query"`
	At     string `json:"at"`
	Status int    `json:"status"`
	Body   string `json:"body"`
	Series []struct {
		Labels  map[string]string `json:"labels"`
		Samples map[string]string `json:"samples"`
	} `json:"series"`
	Date string `json:"date"`
}

func (s *storyServer) connect(srv query.Server) (query.Querier, error) { return query.Client(srv, s) }

func (s *storyServer) answers(story string) []storyAnswer {
	var a []storyAnswer
	if _, err := crossplane.ReadYAML(filepath.Join(s.dir, story, "answers.yaml"), &a); err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *storyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	story := strings.Split(r.URL.Path, "/")[1]
	n, all := s.asked[story], s.answers(story)
	s.asked[story]++
	if n >= len(all) {
		return nil, fmt.Errorf("no answer left")
	}
	a := all[n]
	if a.Query != "" && a.Query != form.Get("query") {
		s.t.Errorf("story %s asks\n%s\nwant\n%s", story, form.Get("query"), a.Query)
	}
	if at := clock(s.t, form.Get("time")); a.At != "" && a.At != at {
		s.t.Errorf("story %s asks at %s, want %s", story, at, a.At)
	}
	if a.Status == 0 {
		a.Status, a.Body = 200, a.json(s.t)
	}
	h := http.Header{}
	if a.Date != "" {
		h.Set("Date", a.Date)
	}
	return &http.Response{StatusCode: a.Status, Header: h, Body: io.NopCloser(bytes.NewBufferString(a.Body)), Request: r}, nil
}

func clock(t *testing.T, unix string) string {
	t.Helper()
	var sec int64
	if _, err := fmt.Sscan(unix, &sec); err != nil {
		t.Fatalf("time %q: %v", unix, err)
	}
	return time.Unix(sec, 0).UTC().Format("15:04:05")
}

func (a storyAnswer) json(t *testing.T) string {
	t.Helper()
	result, kind := []any{}, "matrix"
	for _, s := range a.Series {
		times := make([]string, 0, len(s.Samples))
		for k := range s.Samples {
			times = append(times, k)
		}
		sort.Strings(times)
		values := []any{}
		for _, k := range times {
			at, err := time.Parse(time.RFC3339, "2026-11-23T"+k+"Z")
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, []any{at.Unix(), s.Samples[k]})
		}
		result = append(result, map[string]any{"metric": s.Labels, "values": values})
	}
	b, err := json.Marshal(map[string]any{"status": "success", "data": map[string]any{"resultType": kind, "result": result}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
