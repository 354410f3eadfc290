package spend

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/internal/errors"
)

// recount counts the tokens of the bill again from samples, as the step fetch-spend
// did, or says how to get the samples.
func (e *Explanation) recount(ctx context.Context, out io.Writer) error {
	l := e.Budget.Status.Ledger
	if l == nil {
		return nil
	}
	settings, err := fetchspend.ReadSettings(&e.Input)
	if err != nil {
		return err
	}
	asOf, err := time.Parse(time.RFC3339, l.AsOf)
	if err != nil {
		return errors.Wrap(err, "cannot read status.ledger.asOf")
	}
	if e.Samples == nil {
		settled, err := time.Parse(time.RFC3339, l.SettledAt)
		if err != nil {
			return errors.Wrap(err, "cannot read status.ledger.settledAt")
		}
		span := asOf.Sub(settled) + settings.Rules.Overlap() + count.Lookback
		ask(out, query.Samples(settings.Rules.Metrics, e.Budget.Spec.AgentName, span, settings.Exact), asOf)
		return nil
	}
	if e.Prices == nil {
		return errors.New("cannot count again without prices: the status keeps none, so name the table with --prices")
	}
	if is := settings.Mapping(e.Budget.Spec.AgentName); is != l.Mapping {
		return errors.Errorf("cannot count again: the status was counted with another input of the step fetch-spend (mapping %s, and this one has %s): give the one of your Composition with --input", l.Mapping, is)
	}
	settings.Exact = false // what was saved is in one place
	o := fetchspend.Measure(ctx, &recorded{series: e.Samples, metrics: settings.Rules.Metrics}, fetchspend.Facts{
		Now: asOf.Add(settings.IngestDelay), Settings: settings, Budget: e.Budget.Spec, Created: e.Budget.CreationTimestamp.Time,
		Ledger: l, Bill: e.Budget.Status.Bill, Prices: e.Prices,
	})
	if o.Problem != nil {
		return errors.Errorf("cannot count again: %s: %s", o.Problem.Reason, o.Problem.Message)
	}
	e.compareTokens(o.Measurement.Bill)
	fmt.Fprintf(out, "\nCounted again from %d series: %s USD\n", len(e.Samples), o.Spent)
	return nil
}

// ask prints how to save what a server has.
func ask(out io.Writer, queries []string, at time.Time) {
	var commands strings.Builder
	var files []string
	for i, q := range queries {
		file := "answer.json"
		if len(queries) > 1 {
			file = fmt.Sprintf("answer-%d.json", i+1)
		}
		files = append(files, file)
		fmt.Fprintf(&commands, "  curl -fsS \"$PROMETHEUS/api/v1/query\" --data-urlencode time=%d --data-urlencode 'query=%s' >%s\n", at.Unix(), q, file)
	}
	fmt.Fprintf(out, "\nTo count the tokens again, too, save what the server has, and run this with --samples %s:\n%s", strings.Join(files, ","), commands.String())
}

// compareTokens compares the bill with one that was counted again.
func (e *Explanation) compareTokens(again []v1alpha1.BillLine) {
	type key struct{ model, kind, from string }
	was := map[key]v1alpha1.BillLine{}
	for _, l := range e.Budget.Status.Bill {
		was[key{l.Model, kind(l), l.From}] = l
	}
	for _, l := range again {
		k := key{l.Model, kind(l), l.From}
		if old := was[k]; old.Tokens != l.Tokens || old.USD != l.USD {
			e.missf("%s %s: the samples say %s tokens for %s USD, and the bill %s for %s", l.Model, kind(l), orNone(l.Tokens), l.USD, orNone(old.Tokens), orNone(old.USD))
		}
		delete(was, k)
	}
	for k, l := range was {
		e.missf("%s %s: the bill says %s tokens, and the samples none", k.model, k.kind, l.Tokens)
	}
}

// recorded answers fetch-spend's queries from samples that were saved.
type recorded struct {
	series  []count.Series
	metrics count.Mapping
}

var inBrackets = regexp.MustCompile(`\[([0-9]+)s\]`)

// Query implements query.Querier.
func (r *recorded) Query(_ context.Context, promQL string, at time.Time) (query.Answer, error) {
	m := inBrackets.FindStringSubmatch(promQL)
	if m == nil {
		return query.Answer{}, errors.Errorf("no range in %s", promQL)
	}
	seconds, err := strconv.Atoi(m[1])
	if err != nil {
		return query.Answer{}, err
	}
	end, starts := at.UnixMilli(), strings.Contains(promQL, count.StartMetric)
	var out []count.Series
	for _, s := range r.series {
		if _, counter := r.metrics.Names[s.Labels["__name__"]]; counter == starts {
			continue
		}
		found := count.Series{Labels: s.Labels}
		for _, p := range s.Samples {
			if p.At > end-int64(seconds)*1000 && p.At <= end {
				found.Samples = append(found.Samples, p)
			}
		}
		switch n := len(found.Samples); {
		case n == 0:
			continue
		case strings.HasPrefix(promQL, "last_over_time("):
			found.Samples = []count.Sample{{At: end, Value: found.Samples[n-1].Value}}
		}
		out = append(out, found)
	}
	return query.Answer{Series: out}, nil
}

// readSamples reads a saved answer of Prometheus' query API with raw samples.
func readSamples(text string) ([]count.Series, error) {
	var answer struct {
		Status string `json:"status"`
		Data   struct {
			Type   string `json:"resultType"`
			Result []struct {
				Metric map[string]string `json:"metric"`
				Values [][2]any          `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return nil, errors.Wrap(err, "it is no answer of the query API")
	}
	if answer.Status != "success" || answer.Data.Type != "matrix" {
		return nil, errors.Errorf("it must be a successful answer with raw samples (resultType matrix), and is %q with %q", answer.Status, answer.Data.Type)
	}
	out := make([]count.Series, 0, len(answer.Data.Result))
	for _, r := range answer.Data.Result {
		s := count.Series{Labels: r.Metric}
		for _, v := range r.Values {
			at, isTime := v[0].(float64)
			text, isText := v[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			if !isTime || !isText || err != nil {
				return nil, errors.Errorf("%v is no sample", v)
			}
			s.Samples = append(s.Samples, count.Sample{At: int64(at*1000 + 0.5), Value: value})
		}
		out = append(out, s)
	}
	return out, nil
}
