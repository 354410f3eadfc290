package mind

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An Answer is what the worker's code prints behind the word ANSWER.
type Answer struct {
	Kind      string                     `json:"kind"` // figure, row or table
	Label     string                     `json:"label"`
	Value     json.RawMessage            `json:"value"`
	Row       map[string]json.RawMessage `json:"row"`
	Columns   []string                   `json:"columns"`
	Rows      [][]json.RawMessage        `json:"rows"`
	Used      int                        `json:"used"`
	Total     int                        `json:"total"`
	Left      int                        `json:"left"`
	Sum       *int                       `json:"sum"`
	Different *int                       `json:"different"`
	Notes     []string                   `json:"notes"`
	Chart     bool                       `json:"chart"`
}

// answer finds the answer in what the tool said.
func answer(s string) (Answer, bool) {
	for _, text := range []string{s, strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\n`, "\n").Replace(s)} {
		_, rest, found := strings.Cut(text, "ANSWER ")
		if !found {
			continue
		}
		var a Answer
		if json.NewDecoder(strings.NewReader(rest)).Decode(&a) == nil && a.Kind != "" {
			return a, true
		}
	}
	return Answer{}, false
}

var link = regexp.MustCompile(`(?:https?://|/)[^\s"'()<>\\]+\.png[^\s"'()<>\\]*`)

// maxRows of a table go into an answer.
const maxRows = 12

// Explain puts an answer into words. Said is all that the tool said, for the link
// to a chart.
func Explain(a Answer, said string) string {
	var b strings.Builder
	switch a.Kind {
	case "figure":
		fmt.Fprintf(&b, "The %s is **%s**%s.\n", a.Label, format(a.Value), exactly(a.Value))
	case "row":
		fmt.Fprintf(&b, "The %s has **%s**. The whole row:\n\n| column | value |\n|---|---|\n", a.Label, format(a.Value))
		var names []string
		for k := range a.Row {
			names = append(names, k)
		}
		slices.Sort(names)
		for _, k := range names {
			fmt.Fprintf(&b, "| %s | %s |\n", cell(k), cell(format(a.Row[k])))
		}
	default:
		explainTable(&b, a)
	}
	for _, n := range a.Notes {
		fmt.Fprintf(&b, "\n- %s", n)
	}
	fmt.Fprintf(&b, "\n\nCalculated with pandas from %s of %s rows", group(strconv.Itoa(a.Used)), group(strconv.Itoa(a.Total)))
	if a.Left > 0 {
		fmt.Fprintf(&b, "; %s rows without a value were left out", group(strconv.Itoa(a.Left)))
	}
	b.WriteString(".")
	if a.Chart {
		if l := link.FindString(said); l != "" {
			fmt.Fprintf(&b, "\n\n![Chart: %s](%s)", a.Label, l)
		}
	}
	return b.String()
}

func explainTable(b *strings.Builder, a Answer) {
	switch {
	case len(a.Rows) == 0:
		fmt.Fprintf(b, "There is nothing to show for the %s: no row fits.\n", a.Label)
		return
	case len(a.Rows) == 1 && len(a.Columns) == 2:
		fmt.Fprintf(b, "**%s** it is: its %s is **%s**%s.\n", format(a.Rows[0][0]), a.Columns[1], format(a.Rows[0][1]), exactly(a.Rows[0][1]))
		return
	case a.Sum != nil:
		fmt.Fprintf(b, "**%s** values are missing in %d columns:\n\n", group(strconv.Itoa(*a.Sum)), len(a.Rows))
	default:
		fmt.Fprintf(b, "The %s:\n\n", a.Label)
	}
	row := func(cells []string) { fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | ")) }
	var head, line []string
	for _, c := range a.Columns {
		head, line = append(head, cell(c)), append(line, "---")
	}
	row(head)
	row(line)
	for _, r := range a.Rows[:min(len(a.Rows), maxRows)] {
		var cells []string
		for _, v := range r {
			cells = append(cells, cell(format(v)))
		}
		row(cells)
	}
	if more := len(a.Rows) - maxRows; more > 0 {
		fmt.Fprintf(b, "\nand %d more rows.\n", more)
	}
	if a.Different != nil {
		fmt.Fprintf(b, "\n%s different values in all.\n", group(strconv.Itoa(*a.Different)))
	}
}

func cell(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "|", "\\|"), "\n", " ") }

// format writes a value for reading: thousands in groups, two decimals, more for
// what is small.
func format(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil && !bytes.Equal(v, []byte("null")) {
		return s
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		if string(v) == "null" || len(v) == 0 {
			return "no value"
		}
		return string(v)
	}
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return group(strconv.FormatFloat(f, 'f', 0, 64))
	}
	if math.Abs(f) < 1 {
		return strconv.FormatFloat(f, 'g', 4, 64)
	}
	return group(strconv.FormatFloat(f, 'f', 2, 64))
}

// exactly adds the figure as it was printed, where it was rounded.
func exactly(v json.RawMessage) string {
	if s := strings.ReplaceAll(format(v), ",", ""); s != string(v) && len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9') && strings.TrimSuffix(string(v), ".0") != s {
		return " (exactly " + string(v) + ")"
	}
	return ""
}

// group puts commas between thousands.
func group(s string) string {
	whole, rest, _ := strings.Cut(s, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return sign + whole
}
