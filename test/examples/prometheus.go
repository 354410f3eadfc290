package examples

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/internal/errors"
)

// A Recording is what a budget's story finds in Prometheus, and when.
type Recording struct {
	// Now is the time at which the story plays: fetch-spend's clock.
	Now time.Time `json:"now"`

	// Series that Prometheus holds.
	Series []Series `json:"series,omitempty"`

	// Answer to every query, instead of what Series hold.
	Answer *Answer `json:"answer,omitempty"`
}

// A Series is one counter as it was scraped.
type Series struct {
	Labels  map[string]string `json:"labels"`
	Samples []Samples         `json:"samples"`
}

// Samples are one sample, or a run of them that grows by Add every so often.
type Samples struct {
	At    time.Time `json:"at"`
	Value float64   `json:"value"`

	Until time.Time       `json:"until,omitzero"`
	Every metav1.Duration `json:"every,omitzero"`
	Add   float64         `json:"add,omitempty"`
}

// An Answer is what a server says when it can't say what it holds.
type Answer struct {
	Code int    `json:"code"`
	Body string `json:"body"`
}

type sample struct {
	at    time.Time
	value float64
}

func (s Series) samples() []sample {
	var out []sample
	for _, r := range s.Samples {
		out = append(out, sample{r.At, r.Value})
		if r.Every.Duration <= 0 {
			continue
		}
		value := r.Value
		for at := r.At.Add(r.Every.Duration); !at.After(r.Until); at = at.Add(r.Every.Duration) {
			value += r.Add
			out = append(out, sample{at, value})
		}
	}
	return out
}

// rangeSelector is the end of the one thing fetch-spend asks for: the raw samples
// of a range, or the last one in it.
var rangeSelector = regexp.MustCompile(`\[([0-9a-z]+)\]`)

// nameMatcher is how a query says which metrics it wants.
var nameMatcher = regexp.MustCompile(`__name__(=~?)"([^"]*)"`)

// wanted says whether a query asks for a metric.
func wanted(expr, name string) bool {
	m := nameMatcher.FindStringSubmatch(expr)
	if m == nil {
		return true
	}
	value, err := strconv.Unquote(`"` + m[2] + `"`)
	if err != nil || m[1] == "=" {
		return name == value
	}
	matches, err := regexp.MatchString("^(?:"+value+")$", name)
	return err == nil && matches
}

// Handler speaks as much of Prometheus' query API as fetch-spend uses: an instant
// query whose expression is a range selector, or last_over_time of one. Every
// series of its metrics matches; a story records only what its agent's would.
func (r *Recording) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Date", r.Now.UTC().Format(http.TimeFormat)) // fetch-spend distrusts clocks that differ
		if r.Answer != nil {
			w.WriteHeader(r.Answer.Code)
			_, _ = w.Write([]byte(r.Answer.Body)) // to a client that went away there is nothing to say
			return
		}
		data, err := r.query(req.FormValue("query"), req.FormValue("time"))
		answer := map[string]any{"status": "success", "data": data}
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			answer = map[string]any{"status": "error", "errorType": "bad_data", "error": err.Error()}
		}
		_ = json.NewEncoder(w).Encode(answer) // as above
	})
}

func (r *Recording) query(expr, at string) (map[string]any, error) {
	m := rangeSelector.FindStringSubmatch(expr)
	if m == nil {
		return nil, errors.Errorf("this stand-in answers only range selectors and last_over_time of one, not %q", expr)
	}
	width, err := promDuration(m[1])
	if err != nil {
		return nil, err
	}
	end, err := promTime(at)
	if err != nil {
		return nil, err
	}
	last := strings.HasPrefix(expr, "last_over_time(")
	result := []any{}
	for _, s := range r.Series {
		if !wanted(expr, s.Labels["__name__"]) {
			continue
		}
		var values []any
		for _, v := range s.samples() {
			if v.at.After(end.Add(-width)) && !v.at.After(end) { // open on the left, as in Prometheus 3
				values = append(values, []any{float64(v.at.UnixMilli()) / 1000, strconv.FormatFloat(v.value, 'f', -1, 64)})
			}
		}
		switch {
		case len(values) == 0:
		case last:
			v, _ := values[len(values)-1].([]any)
			result = append(result, map[string]any{"metric": s.Labels, "value": []any{float64(end.UnixMilli()) / 1000, v[1]}})
		default:
			result = append(result, map[string]any{"metric": s.Labels, "values": values})
		}
	}
	if last {
		return map[string]any{"resultType": "vector", "result": result}, nil
	}
	return map[string]any{"resultType": "matrix", "result": result}, nil
}

// promDuration reads a duration as PromQL writes it: 1d2h3m4s5ms.
func promDuration(s string) (time.Duration, error) {
	var d time.Duration
	if days, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil {
			return 0, errors.Wrapf(err, "cannot read duration %q", s)
		}
		d, s = time.Duration(n)*24*time.Hour, rest
	}
	if s == "" {
		return d, nil
	}
	rest, err := time.ParseDuration(s)
	return d + rest, errors.Wrapf(err, "cannot read duration %q", s)
}

// promTime reads a time as the API takes it: Unix seconds, or RFC 3339.
func promTime(s string) (time.Time, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return time.UnixMilli(int64(f*1000 + 0.5)).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, errors.Wrap(err, "cannot read the time of a query")
}
