package ledger

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

const order = `# The order of housing-bot. Ask platform@ before you touch it.
apiVersion: whisperops.io/v1alpha1
kind: XDatasetAgent
metadata:
  name: "housing-bot" # never changes
spec:
  agentName: 'housing-bot'

  datasetRef: {name: "california-housing"}   # kubectl get xds
  budgetUsd: 5   # a month of questions
  description: "Answers \"questions\" # about houses"
  baseDomain: 34.61.7.12.sslip.io
  projectId: acme-data
`

func TestEdit(t *testing.T) {
	cases := map[string]struct {
		reason string
		file   string // order, if empty
		change Change
		old    string // what of the file changes ...
		new    string // ... and into what
	}{
		"Budget":           {"One field, one commit: nothing else of the file moves.", "", Change{"budgetUsd", "12.50"}, "budgetUsd: 5 ", "budgetUsd: 12.5 "},
		"BudgetUnchanged":  {"What is so already is not written: 5.0 is 5.", "", Change{"budgetUsd", "5.0"}, "", ""},
		"BudgetToNothing":  {"0 is a budget: no money at all.", "", Change{"budgetUsd", "0"}, "budgetUsd: 5 ", "budgetUsd: 0 "},
		"Dataset":          {"A field inside braces is replaced in place.", "", Change{"datasetRef.name", "titanic"}, `"california-housing"`, `"titanic"`},
		"DatasetNull":      {"Names that YAML reads as something else are quoted.", "", Change{"datasetRef.name", "null"}, `"california-housing"`, `"null"`},
		"Quotes":           {"A hash inside quotes is no comment.", "", Change{"description", `He said: "no" # yes`}, `"Answers \"questions\" # about houses"`, `"He said: \"no\" # yes"`},
		"Lines":            {"A description of two lines stays one scalar.", "", Change{"description", "a\nb"}, `"Answers \"questions\" # about houses"`, `"a\nb"`},
		"SingleQuotes":     {"'' is a quote inside quotes.", strings.Replace(order, `"Answers \"questions\" # about houses"`, `'it''s # mine' # old`, 1), Change{"description", "x"}, `'it''s # mine'`, `"x"`},
		"Missing":          {"A field that is not there is added, and no comment changes its place.", strings.Replace(order, "  budgetUsd: 5   # a month of questions\n", "", 1), Change{"budgetUsd", "7"}, "spec:\n", "spec:\n  budgetUsd: 7\n"},
		"Enforcement":      {"What the form never asked for is added as a line of its own.", "", Change{"enforcement", "monitor-only"}, "spec:\n", "spec:\n  enforcement: \"monitor-only\"\n"},
		"Period":           {"What stands there is replaced in place.", strings.Replace(order, "  budgetUsd", "  period: daily # UTC\n  budgetUsd", 1), Change{"period", "monthly"}, "period: daily ", "period: \"monthly\" "},
		"WindowsLines":     {"Lines of Windows stay as they are.", strings.ReplaceAll(order, "\n", "\r\n"), Change{"budgetUsd", "7"}, "budgetUsd: 5 ", "budgetUsd: 7 "},
		"ByteOrderMark":    {"So does a byte order mark.", "\uFEFF" + order, Change{"budgetUsd", "7"}, "budgetUsd: 5 ", "budgetUsd: 7 "},
		"WideCharacters":   {"Columns are characters, not bytes.", strings.Replace(order, "datasetRef: {name:", "datasetRef: { # ä\n    name:", 1), Change{"datasetRef.name", "x"}, `"california-housing"`, `"x"`},
		"BudgetAsText":     {"A number that was written as text becomes a number, as the schema wants it.", strings.Replace(order, "budgetUsd: 5 ", `budgetUsd: "5" `, 1), Change{"budgetUsd", "5"}, `budgetUsd: "5"`, "budgetUsd: 5"},
		"UnicodeInOneLine": {"Characters before the value on its line are counted once.", strings.Replace(order, `datasetRef: {name: "california-housing"}`, `datasetRef: {"näme": "ä", name: "california-housing"}`, 1), Change{"datasetRef.name", "x"}, `"california-housing"`, `"x"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			file := tc.file
			if file == "" {
				file = order
			}
			got, changed, err := Edit([]byte(file), "housing-bot", tc.change)
			if err != nil {
				t.Fatalf("%s\n%v", tc.reason, err)
			}
			want := strings.Replace(file, tc.old, tc.new, 1)
			if diff := cmp.Diff(want, string(got)); diff != "" || changed != (want != file) {
				t.Errorf("%s\nchanged %t, -want +got:\n%s", tc.reason, changed, diff)
			}
		})
	}
}

func TestEditRewrites(t *testing.T) {
	// Where a value can't be replaced in place, the document is written anew, with
	// its comments.
	for name, file := range map[string]string{
		"Folded":      strings.Replace(order, `"Answers \"questions\" # about houses"`, ">\n    two\n    lines", 1),
		"TwoLines":    strings.Replace(order, `"Answers \"questions\" # about houses"`, "\"two\n    lines\"", 1),
		"PlainOnTwo":  strings.Replace(order, `"Answers \"questions\" # about houses"`, "two\n    lines", 1),
		"FlowMapping": `{apiVersion: whisperops.io/v1alpha1, kind: XDatasetAgent, metadata: {name: housing-bot}, spec: {agentName: housing-bot}} # platform@`,
		"Nothing":     strings.Replace(order, `"Answers \"questions\" # about houses"`, "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			got, changed, err := Edit([]byte(file), "housing-bot", Change{"description", "null"})
			if err != nil || !changed || !bytes.Contains(got, []byte("platform@")) || !bytes.Contains(got, []byte(`description: "null"`)) {
				t.Errorf("want the description and all comments, got changed %t, %v:\n%s", changed, err, got)
			}
		})
	}
}

func TestEditRefuses(t *testing.T) {
	cases := map[string]struct {
		file   string
		change Change
		want   string
	}{
		"Empty":         {"", Change{"budgetUsd", "5"}, "the file is empty"},
		"NotYAML":       {"{", Change{"budgetUsd", "5"}, "the file is not YAML: yaml: line 1: did not find expected node content"},
		"TwoDocuments":  {order + "---\n" + order, Change{"budgetUsd", "5"}, "the file must hold one document, the order, and nothing else"},
		"OtherKind":     {"apiVersion: v1\nkind: ConfigMap\n", Change{"budgetUsd", "5"}, "the file holds v1 ConfigMap, not an XDatasetAgent of whisperops.io/v1alpha1"},
		"OtherAgent":    {strings.ReplaceAll(order, "housing-bot", "other-bot"), Change{"budgetUsd", "5"}, `the file orders the agent "other-bot", not "housing-bot"`},
		"Identity":      {order, Change{"projectId", "other"}, `field "projectId" of an order can't be changed; these can: budgetUsd, datasetRef.name, description, enforcement, period`},
		"Negative":      {order, Change{"budgetUsd", "-1"}, `budgetUsd: "-1" must be US dollars from 0 to 10000, for example 7.5`},
		"TooMuch":       {order, Change{"budgetUsd", "10000.01"}, `budgetUsd: "10000.01" must be US dollars from 0 to 10000, for example 7.5`},
		"NaN":           {order, Change{"budgetUsd", "NaN"}, `budgetUsd: "NaN" must be US dollars from 0 to 10000, for example 7.5`},
		"Comma":         {order, Change{"budgetUsd", "7,50"}, `budgetUsd: "7,50" must be US dollars from 0 to 10000, for example 7.5`},
		"Exponent":      {order, Change{"budgetUsd", "1e3"}, `budgetUsd: "1e3" must be US dollars from 0 to 10000, for example 7.5`},
		"DatasetByPath": {order, Change{"datasetRef.name", "resource:default/titanic"}, `datasetRef.name: "resource:default/titanic" is not the name of an XDataset (kubectl get xds lists them): a lowercase RFC 1123 subdomain`},
		"Enforcement":   {order, Change{"enforcement", "off"}, `enforcement: "off" must be enabled or monitor-only`},
		"Period":        {order, Change{"period", "hourly"}, `period: "hourly" must be lifetime, daily, weekly or monthly`},
		"TooLong":       {order, Change{"description", strings.Repeat("ä", 501)}, "description: it has 501 characters, 500 are allowed"},
		"Control":       {order, Change{"description", "a\x00b"}, "description: it must not hold control characters"},
		"KeyTwice":      {strings.Replace(order, "  budgetUsd", "  budgetUsd: 4\n  budgetUsd", 1), Change{"budgetUsd", "5"}, "the file is not YAML: yaml: unmarshal errors:\n  line 11: mapping key \"budgetUsd\" already defined at line 10"},
		"NotASpec":      {"apiVersion: whisperops.io/v1alpha1\nkind: XDatasetAgent\nspec: 5\n", Change{"budgetUsd", "5"}, "the order has no spec"},
		"NotAMapping":   {strings.Replace(order, `{name: "california-housing"}`, "titanic", 1), Change{"datasetRef.name", "x"}, "cannot set datasetRef.name: spec.datasetRef is not a mapping"},
		"NotAValue":     {strings.Replace(order, "budgetUsd: 5", "budgetUsd: [5]", 1), Change{"budgetUsd", "6"}, "cannot set budgetUsd: spec.budgetUsd is not a single value"},
		"Shared": {
			strings.Replace(strings.Replace(order, "budgetUsd: 5", "budgetUsd: &five 5", 1), "projectId: acme-data", "projectId: acme-data\n  extra: *five", 1),
			Change{"budgetUsd", "6"},
			"the file is written in a way that can't be edited safely (anchors, tags or merges): edit it by hand",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, changed, err := Edit([]byte(tc.file), "housing-bot", tc.change)
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || got != nil || changed {
				t.Errorf("want %q, got %v, changed %t:\n%s", tc.want, err, changed, got)
			}
		})
	}
}

// Whatever a file looks like, an edit changes that field and nothing else of what
// the API server would read, and a second one writes nothing.
func TestEditProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune(`ab "'#:{}[]&*!|>%@\,-?`+"\n\täß\u2028🙂")), 0, 40, -1)
		spec := map[string]any{
			"agentName":   "housing-bot",
			"datasetRef":  map[string]any{"name": rapid.StringMatching(`[a-z0-9]{1,9}`).Draw(t, "dataset")},
			"budgetUsd":   rapid.Float64Range(0, 10000).Draw(t, "budget"),
			"description": text.Draw(t, "description"),
			"baseDomain":  rapid.SampledFrom([]string{"1.5", "10", "a.example"}).Draw(t, "domain"),
		}
		for _, field := range []string{"datasetRef", "budgetUsd", "description"} {
			if rapid.Bool().Draw(t, "without "+field) {
				delete(spec, field)
			}
		}
		file, err := yaml.Marshal(map[string]any{"apiVersion": "whisperops.io/v1alpha1", "kind": "XDatasetAgent", "metadata": map[string]any{"name": "housing-bot"}, "spec": spec})
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "quoted") { // JSON is YAML, too
			if file, err = yaml.YAMLToJSON(file); err != nil {
				t.Fatal(err)
			}
		}
		c := rapid.SampledFrom([]Change{
			{"budgetUsd", strconv.Itoa(rapid.IntRange(0, 9999).Draw(t, "usd")) + ".25"},
			{"datasetRef.name", rapid.StringMatching(`[a-z0-9]{1,9}|null|true|1e3`).Draw(t, "name")},
			{"description", text.Draw(t, "text")},
		}).Draw(t, "change")
		got, _, err := Edit(file, "housing-bot", c)
		if err != nil {
			t.Fatalf("%v\n%s", err, file)
		}
		want, is := map[string]any{}, map[string]any{}
		if err := yaml.Unmarshal(file, &want); err != nil {
			t.Fatal(err)
		}
		v, _ := c.decode()
		if err := put(want, append([]string{"spec"}, strings.Split(c.Field, ".")...), v); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(got, &is); err != nil || !reflect.DeepEqual(normal(want), normal(is)) {
			t.Fatalf("%v\nbefore:\n%s\nafter:\n%s", err, file, got)
		}
		if again, changed, err := Edit(got, "housing-bot", c); err != nil || changed || !bytes.Equal(again, got) {
			t.Fatalf("a second edit changes something: %v\n%s", err, again)
		}
	})
}

func FuzzEdit(f *testing.F) {
	f.Add([]byte(order), "7", "x")
	f.Fuzz(func(t *testing.T, file []byte, usd, text string) {
		for _, c := range []Change{{"budgetUsd", usd}, {"description", text}} {
			got, changed, err := Edit(file, "housing-bot", c)
			if err != nil {
				continue
			}
			if _, err := decodeOrder(got, "housing-bot"); err != nil || changed == bytes.Equal(file, got) {
				t.Errorf("changed %t, %v:\n%s", changed, err, got)
			}
		}
	})
}
