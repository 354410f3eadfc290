package examples

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

const recording = `
now: "2026-11-23T09:30:00Z"
series:
- labels: {__name__: tokens, pod: a}
  samples:
  - {at: "2026-11-23T09:00:00Z", value: 5}
  - {at: "2026-11-23T09:01:00Z", until: "2026-11-23T09:02:00Z", every: 30s, value: 10, add: 2.5}
- labels: {__name__: tokens, pod: gone}
  samples:
  - {at: "2026-11-22T09:00:00Z", value: 7}
`

func TestHandler(t *testing.T) {
	at := func(s string) string { return "1795424" + s } // 2026-11-23T08:53:20Z is 1795424000
	cases := map[string]struct {
		reason string
		query  string
		time   string
		code   int
		want   string
	}{
		"Range": {
			reason: "A range is open on the left: the sample at 09:01:00 is not in the minute that ends at 09:02:00.",
			query:  `{__name__=~"tokens"}[60s]`,
			time:   at("520"),
			code:   200,
			want:   `{"data":{"result":[{"metric":{"__name__":"tokens","pod":"a"},"values":[[1795424490,"12.5"],[1795424520,"15"]]}],"resultType":"matrix"},"status":"success"}`,
		},
		"Last": {
			reason: "last_over_time gives one sample of each series, at the time of the query.",
			query:  `last_over_time({__name__="tokens"}[1d30m])`,
			time:   at("520"),
			code:   200,
			want:   `{"data":{"result":[{"metric":{"__name__":"tokens","pod":"a"},"value":[1795424520,"15"]},{"metric":{"__name__":"tokens","pod":"gone"},"value":[1795424520,"7"]}],"resultType":"vector"},"status":"success"}`,
		},
		"Pattern": {
			reason: "A name is matched as a whole, dots and all.",
			query:  `last_over_time({__name__=~"tok\\.ens|other"}[1d30m])`,
			time:   at("520"),
			code:   200,
			want:   `{"data":{"result":[],"resultType":"vector"},"status":"success"}`,
		},
		"Nothing": {
			reason: "A series without a sample in the range isn't there, and an empty answer is a list.",
			query:  `{pod="a"}[10s]`,
			time:   "2026-11-23T08:00:00Z",
			code:   200,
			want:   `{"data":{"result":[],"resultType":"matrix"},"status":"success"}`,
		},
		"UnknownQuery": {
			reason: "What the stand-in can't answer must not look like an agent that spends nothing.",
			query:  "sum(tokens)",
			time:   at("520"),
			code:   400,
			want:   `{"error":"this stand-in answers only range selectors and last_over_time of one, not \"sum(tokens)\"","errorType":"bad_data","status":"error"}`,
		},
	}
	rec := &Recording{}
	if err := yaml.UnmarshalStrict([]byte(recording), rec); err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := ask(rec, tc.query, tc.time)
			if w.Code != tc.code {
				t.Errorf("%s: code %d, want %d", tc.reason, w.Code, tc.code)
			}
			if diff := cmp.Diff(tc.want, strings.TrimSpace(w.Body.String())); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if got := w.Header().Get("Date"); got != "Mon, 23 Nov 2026 09:30:00 GMT" {
				t.Errorf("Date is %q: fetch-spend compares it with its clock", got)
			}
		})
	}
}

func TestHandlerAnswer(t *testing.T) {
	rec := &Recording{Now: time.Unix(0, 0), Answer: &Answer{Code: http.StatusServiceUnavailable, Body: "down"}}
	if w := ask(rec, "x[1m]", "0"); w.Code != http.StatusServiceUnavailable || w.Body.String() != "down" {
		t.Errorf("got %d %q, want what the story says", w.Code, w.Body)
	}
}

func ask(rec *Recording, query, at string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/query", strings.NewReader(url.Values{"query": {query}, "time": {at}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	rec.Handler().ServeHTTP(w, r)
	return w
}
