package fetchspend

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/query"
)

// A managed server takes no regular expression on the names of metrics, as Google's
// managed Prometheus, and answers for one name.
type managed struct {
	t       *testing.T
	store   *store
	refusal string // the body of its 400
	all     bool   // it refuses exact names, too

	asked []string
}

var exactName = regexp.MustCompile(`__name__="([^"]*)"`)

func (m *managed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	promQL := r.FormValue("query")
	m.asked = append(m.asked, promQL)
	name := exactName.FindStringSubmatch(promQL)
	if name == nil || m.all || strings.Contains(promQL, "__name__=~") {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, m.refusal)
		return
	}
	seconds, err := strconv.ParseFloat(r.FormValue("time"), 64)
	if err != nil {
		m.t.Error(err)
	}
	of := &store{now: m.store.now}
	for _, s := range m.store.series {
		if s.labels["__name__"] == name[1] {
			of.series = append(of.series, s)
		}
	}
	a, err := of.Query(r.Context(), promQL, time.UnixMilli(int64(seconds*1000)))
	if err != nil {
		m.t.Error(err)
	}
	result := []any{}
	for _, s := range a.Series {
		values := [][2]any{}
		for _, p := range s.Samples {
			values = append(values, [2]any{float64(p.At) / 1000, strconv.FormatFloat(p.Value, 'f', -1, 64)})
		}
		result = append(result, map[string]any{"metric": s.Labels, "values": values})
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": result}}); err != nil {
		m.t.Error(err)
	}
}

// patterns are how many of the queries had a regular expression on names.
func (m *managed) patterns() (n int) {
	for _, q := range m.asked {
		if strings.Contains(q, "__name__=~") {
			n++
		}
	}
	return n
}

// TestManagedServer counts the same tokens from a server that refuses what is asked
// for at first. It is asked for each name by itself then, and from there on.
func TestManagedServer(t *testing.T) {
	const ours = `{"status":"error","errorType":"bad_data","error":"a matcher on __name__ must be an equality"}`
	cases := map[string]struct {
		why      string
		refusal  string
		exact    bool // by input
		all      bool
		want     int64 // tokens; -1: none are known
		reason   string
		patterns int // queries with a regular expression in three looks
	}{
		"ByItself":     {why: "The second look knows what the first was told.", refusal: ours, want: 700, patterns: 1},
		"OtherWords":   {why: "Who refuses says so in words of his own.", refusal: `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": regular expression matchers on the metric name are not supported"}`, want: 700, patterns: 1},
		"MoreWords":    {why: "As above.", refusal: `{"status":"error","errorType":"bad_data","error":"metric name must be an exact match"}`, want: 700, patterns: 1},
		"ByInput":      {why: "The first attempt is spared.", refusal: ours, exact: true, want: 700},
		"AlwaysRefuse": {why: "Then it is something else, and the message says what to look at.", refusal: ours, all: true, want: -1, reason: "NamesRefused", patterns: 3},
		"AnotherError": {why: "What is no refusal of names isn't asked again, name by name.", refusal: `{"status":"error","errorType":"bad_data","error":"1:8: parse error: unexpected end of input"}`, want: -1, reason: "QueryFailed", patterns: 3},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m := &managed{t: t, refusal: tc.refusal, all: tc.all, store: storeOf(t, map[string]string{
				"input pod=a": "10:05:00=100 10:10:00=500", "output pod=a": "10:05:00=50 10:10:00=200", "cached pod=a": "10:05:00=0",
			})}
			srv := httptest.NewServer(m)
			defer srv.Close()
			connections := &query.Connections{}
			f := facts(t, "10:12:20", nil)
			in := &input.FetchSpendInput{}
			in.Prometheus.URL, in.Prometheus.ExactNames = srv.URL, tc.exact
			var err error
			if f.Settings, err = ReadSettings(in); err != nil {
				t.Fatal(err)
			}
			m.store.now = f.Now
			for range 3 {
				q, err := connections.Connect(query.Server{URL: srv.URL, Timeout: f.Settings.Timeout})
				if err != nil {
					t.Fatal(err)
				}
				o := Measure(t.Context(), q, f)
				if tokens(o) != tc.want || reason(o) != tc.reason {
					t.Fatalf("%d tokens, %s; want %d, %s\n%s", tokens(o), reason(o), tc.want, tc.reason, tc.why)
				}
				if o.Ledger != nil {
					f.Ledger = o.Ledger
				}
			}
			if got := m.patterns(); got != tc.patterns {
				t.Errorf("%d queries of %d had a regular expression on names, want %d\n%s", got, len(m.asked), tc.patterns, tc.why)
			}
		})
	}
}
