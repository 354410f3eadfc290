package spend

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"whisperops.io/functions/test/examples"
)

var update = flag.Bool("update", false, "rewrite the files named want")

const stories = "../../examples"

// budgets are the stories whose status has a bill.
func budgets(t *testing.T) []*examples.Story {
	t.Helper()
	all, err := examples.All(stories)
	if err != nil {
		t.Fatal(err)
	}
	var out []*examples.Story
	for _, s := range all {
		if s.Kind() == "XAgentBudget" && s.Want.Status["bill"] != nil {
			out = append(out, s)
		}
	}
	if len(out) < 10 {
		t.Fatalf("only %d stories have a bill", len(out))
	}
	return out
}

// files writes what a person has: the budget as kubectl prints it, the price table and
// the input of fetch-spend.
func files(t *testing.T, s *examples.Story) (flags []string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, v any) string {
		b, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	xr := map[string]any{}
	maps.Copy(xr, s.XR)
	xr["status"] = s.Want.Status
	flags = []string{"--budget", write("xab.yaml", xr)}
	for _, r := range s.Required {
		if data, _ := r["data"].(map[string]any); r["kind"] == "ConfigMap" && data["prices.yaml"] != nil {
			flags = append(flags, "--prices", write("prices.yaml", r))
		}
	}
	text, _, err := s.WithInputs(s.Composition("../.."))
	if err != nil {
		t.Fatal(err)
	}
	var comp struct {
		Spec struct {
			Pipeline []struct {
				Step  string         `json:"step"`
				Input map[string]any `json:"input"`
			} `json:"pipeline"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &comp); err != nil {
		t.Fatal(err)
	}
	for _, p := range comp.Spec.Pipeline {
		if p.Step == "fetch-spend" {
			flags = append(flags, "--input", write("input.yaml", p.Input))
		}
	}
	return flags
}

func explain(t *testing.T, flags ...string) (string, error) {
	t.Helper()
	var out, errOut bytes.Buffer
	err := Run(t.Context(), append([]string{"explain"}, flags...), strings.NewReader(""), &out, &errOut)
	if errOut.Len() > 0 {
		t.Error(errOut.String())
	}
	return out.String(), err
}

var curl = regexp.MustCompile(`--data-urlencode time=([0-9]+) --data-urlencode 'query=([^']*)' >(answer\S*\.json)`)

// asked runs the queries that explain prints on what the story's server holds.
func asked(t *testing.T, s *examples.Story, printed string) (files string) {
	t.Helper()
	commands := curl.FindAllStringSubmatch(printed, -1)
	if commands == nil {
		t.Fatalf("no query in\n%s", printed)
	}
	srv := httptest.NewServer(s.Prometheus.Handler())
	defer srv.Close()
	dir, names, saved := t.TempDir(), []string{}, []string{}
	for _, c := range commands {
		r, err := http.PostForm(srv.URL+"/api/v1/query", url.Values{"time": {c[1]}, "query": {c[2]}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, c[3])
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		names, saved = append(names, c[3]), append(saved, file)
	}
	if !strings.Contains(printed, "--samples "+strings.Join(names, ",")+":") {
		t.Errorf("it doesn't say which files to give:\n%s", printed)
	}
	return strings.Join(saved, ",")
}

// A server that takes no regular expression on names is asked as fetch-spend asks it.
func TestExplainAsksForExactNames(t *testing.T) {
	for _, s := range budgets(t) {
		if s.Name != "budget-cut" {
			continue
		}
		flags := files(t, s)
		input := flags[slices.Index(flags, "--input")+1]
		if err := os.WriteFile(input, []byte("{apiVersion: fn.whisperops.io/v1alpha1, kind: FetchSpendInput, prometheus: {exactNames: true}}"), 0o600); err != nil {
			t.Fatal(err)
		}
		printed, err := explain(t, flags...)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(printed, "=~") || strings.Count(printed, "curl") != 3 {
			t.Errorf("the queries:\n%s", printed)
		}
		again, err := explain(t, append(flags, "--samples", asked(t, s, printed))...)
		if err != nil || !strings.Contains(again, "Counted again from") {
			t.Errorf("%v\n%s", err, again)
		}
		return
	}
	t.Error("there is no story budget-cut")
}

// Every budget of the examples explains itself to its last digit: by its bill, by its
// price table and, counted again, by the samples.
func TestExamplesExplainThemselves(t *testing.T) {
	recounted := 0
	for _, s := range budgets(t) {
		t.Run(s.Name, func(t *testing.T) {
			flags := files(t, s)
			text, err := explain(t, flags...)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if s.Prometheus.Answer != nil {
				return // its server fails in the story
			}
			text, err = explain(t, append(flags, "--samples", asked(t, s, text))...)
			if err != nil {
				t.Fatalf("counted again: %v\n%s", err, text)
			}
			if strings.Contains(text, "Counted again from") {
				recounted++
			}
		})
	}
	if recounted < 8 {
		t.Errorf("only %d were counted again", recounted)
	}
}

// What is printed, for people to review.
func TestExplainGolden(t *testing.T) {
	for _, s := range budgets(t) {
		switch s.Name {
		case "budget-cut", "budget-unpriced-model", "budget-price-corrected":
		default:
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			got, err := explain(t, files(t, s)...)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "explain", s.Name+".want"), got)
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want, +got (go test ./internal/spend -update rewrites it):\n%s", diff)
	}
}

// A figure that is off by its last digit is named.
func TestExplainNamesWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		why  string
		edit func(status map[string]any, line map[string]any)
		want string
	}{
		"LastDigitOfALine": {
			why:  "One millionth of a millionth is an error, too.",
			edit: func(_, l map[string]any) { l["usd"] = "1.201750000001" },
			want: "gemini-2.5-pro input: 961400 tokens at 1.25 USD per million are 1.20175 USD, and the bill says 1.201750000001",
		},
		"Price": {
			why:  "63 USD of 5 were once charged with a price that nobody could see.",
			edit: func(_, l map[string]any) { l["usdPerMillion"], l["usd"] = "15", "14.421" },
			want: "gemini-2.5-pro input: 15 USD per million were applied, and the price table says 1.25 (gemini-2.5-pro)",
		},
		"Tokens": {
			why:  "Only the samples know.",
			edit: func(_, l map[string]any) { l["tokens"], l["usd"] = "961401", "1.20175125" },
			want: "gemini-2.5-pro input: the samples say 961400 tokens for 1.20175 USD, and the bill 961401 for 1.20175125",
		},
		"Sum": {
			why:  "Somebody wrote the status by hand.",
			edit: func(s, _ map[string]any) { s["spentUsd"] = 5.0601 },
			want: "status.spentUsd is 5.0601, and the bill's sum is 5.06",
		},
		"LineThatIsMissing": {
			why:  "As above.",
			edit: func(s, _ map[string]any) { b, _ := s["bill"].([]any); s["bill"] = b[1:] },
			want: "status.spentUsd is 5.06, and the bill's sum is 3.85825",
		},
	}
	s, err := examples.Read(filepath.Join(stories, "budget-cut"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := explain(t, files(t, s)...)
	if err != nil {
		t.Fatal(err)
	}
	answer := asked(t, s, text)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			edited := *s
			edited.Want.Status = copied(t, s.Want.Status)
			bill, _ := edited.Want.Status["bill"].([]any)
			line, _ := bill[0].(map[string]any)
			tc.edit(edited.Want.Status, line)
			_, err := explain(t, append(files(t, &edited), "--samples", answer)...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v\nwant it to say %s\n%s", err, tc.want, tc.why)
			}
		})
	}
}

func copied(t *testing.T, v map[string]any) map[string]any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// What can't be used is said with the way out.
func TestExplainRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"AnotherKind":  {"kind: ConfigMap", "kubectl get xab"},
		"NotMeasured":  {"kind: XAgentBudget", "nothing was measured"},
		"NoBill":       {"kind: XAgentBudget\nstatus: {spentUsd: 3}", "has no bill"},
		"NoYAML":       {"\t{", "it is no YAML"},
		"ListOfThem":   {"kind: List\nitems: []", `it is a "List"`},
		"WordForMoney": {"kind: XAgentBudget\nstatus: {spentUsd: much}", "it is no YAML of an XAgentBudget"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadBudget(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want it to say %s", err, tc.want)
			}
		})
	}
	for name, tc := range map[string]struct{ text, want string }{
		"Vector": {`{"status":"success","data":{"resultType":"vector","result":[]}}`, "raw samples"},
		"Error":  {`{"status":"error"}`, "raw samples"},
		"Page":   {`<html>`, "no answer of the query API"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := readSamples(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want it to say %s", err, tc.want)
			}
		})
	}
}
