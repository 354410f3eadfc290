//go:build linux

package sandbox

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"hash/crc32"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"whisperops.io/functions/test/standins/provider/mind"
)

// A newcomer brings a file and asks what comes to mind. What makes up asks of is all
// here but the network: the stand-in's mind as the model, the sandbox over MCP, and
// Debian's Python. The right figures are calculated in Go from the rows that the file
// was written from. make test-sandbox asks all questions; others, every fourth.
func TestNewcomer(t *testing.T) {
	needPandas(t)
	every := 4
	if os.Getenv("NEWCOMER_QUESTIONS") == "all" || strings.Count(flag.Lookup("test.run").Value.String(), "/") > 1 {
		every = 1
	}
	for _, b := range brought() {
		t.Run(b.name, func(t *testing.T) {
			address := sandboxOver(t, b)
			for i, q := range b.questions {
				if i%every != 0 {
					continue
				}
				t.Run(q.ask, func(t *testing.T) {
					got := converse(t, address, q.ask)
					t.Log(got.text)
					for _, want := range q.want {
						if !holds(got.text, want) {
							t.Errorf("want %q", want)
						}
					}
					for _, no := range q.never {
						if holds(got.text, no) {
							t.Errorf("want no %q", no)
						}
					}
					if q.chart != got.chart {
						t.Errorf("a chart: want %v, got %v", q.chart, got.chart)
					}
					if q.refused != got.refused() {
						t.Errorf("refused: want %v, got %v", q.refused, got.refused())
					}
				})
			}
		})
	}
}

// A broughtFile is a CSV that a newcomer brings, and what they ask.
type broughtFile struct {
	name      string
	content   []byte
	questions []asked
}

type asked struct {
	ask     string
	want    []string // each in the answer
	never   []string
	chart   bool
	refused bool // no figure at all, and a word on why
}

// A told answer is what the person reads.
type told struct {
	text  string
	chart bool
}

// refused says whether the answer says that it can't be given; such an answer holds
// no figure that somebody could take for one.
func (a told) refused() bool {
	return strings.Contains(a.text, "I can't") && !strings.Contains(a.text, "Calculated with pandas")
}

// holds looks for a text between things that are no part of a word or of a figure:
// 12 is not in 112.5.
func holds(text, want string) bool {
	return regexp.MustCompile(`(?:^|[^\w.,])` + regexp.QuoteMeta(want) + `(?:[^\w.,]|[.,]\D|[.,]?$)`).MatchString(text)
}

// converse plays the agent's runtime: it hands the model's calls to the sandbox until
// the model has an answer.
func converse(t *testing.T, address, question string) told {
	t.Helper()
	c := mind.Conversation{
		System:   "You are the data analyst",
		Tools:    []mind.Tool{{Name: "describe_dataset"}, {Name: "execute_python", Params: []string{"code"}}},
		Messages: []mind.Message{{Text: question}},
	}
	chart := false
	for range 6 {
		r := mind.Think(c)
		if len(r.Calls) == 0 {
			return told{r.Text, chart}
		}
		text, result := call(t, address, r.Calls[0].Name, r.Calls[0].Args)
		if result.IsError {
			t.Logf("%s said: %s", r.Calls[0].Name, text)
		}
		chart = chart || slices.ContainsFunc(result.Content, func(c mcp.Content) bool { _, is := c.(*mcp.ImageContent); return is })
		c.Messages = append(c.Messages,
			mind.Message{Model: true, Calls: r.Calls},
			mind.Message{Results: []mind.Result{{ID: r.Calls[0].ID, Name: r.Calls[0].Name, Text: text, Failed: result.IsError}}})
	}
	t.Fatal("no answer after six calls")
	return told{}
}

// sandboxOver runs a sandbox whose dataset is a file that somebody brought.
func sandboxOver(t *testing.T, b broughtFile) string {
	t.Helper()
	store := httptest.NewServer(oneObject(b.name, b.content))
	t.Cleanup(store.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", store.URL)
	address := startServer(t, func(s *settings) {
		s.datasetPath, s.datasetName, s.outputBucket = "gs://"+testBucket+"/"+b.name, strings.TrimSuffix(b.name, ".csv"), ""
	})
	ready(t, address)
	return address
}

// oneObject is a bucket that holds one object, for clients that read.
func oneObject(name string, content []byte) http.Handler {
	sum := make([]byte, 4)
	binary.BigEndian.PutUint32(sum, crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/storage/v1/") && r.URL.Query().Get("alt") != "media" {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{
				"kind": "storage#object", "name": name, "bucket": testBucket, "generation": "1", "metageneration": "1",
				"size": strconv.Itoa(len(content)), "crc32c": base64.StdEncoding.EncodeToString(sum), "updated": "2026-01-02T03:04:05Z",
			})
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}

// A table is what a file was written from; an absent cell is nil, a number a float64.
type table struct {
	columns []string
	rows    [][]any
}

type record func(column string) any

func (t *table) each(do func(get record)) {
	for _, row := range t.rows {
		do(func(column string) any {
			i := slices.Index(t.columns, column)
			if i < 0 {
				panic("no column " + column)
			}
			return row[i]
		})
	}
}

// values are the numbers of a column in the rows that fit.
func (t *table) values(column string, fits ...func(record) bool) []float64 {
	var out []float64
	t.each(func(get record) {
		for _, f := range fits {
			if !f(get) {
				return
			}
		}
		if v, is := get(column).(float64); is {
			out = append(out, v)
		}
	})
	return out
}

func (t *table) count(fits ...func(record) bool) float64 {
	n := 0.0
	t.each(func(get record) {
		for _, f := range fits {
			if !f(get) {
				return
			}
		}
		n++
	})
	return n
}

// by sums a column up for each value of another, which an answer must hold beside it.
func (t *table) by(group, column string, how func([]float64) float64, fits ...func(record) bool) map[string]float64 {
	parts := map[string][]float64{}
	t.each(func(get record) {
		for _, f := range fits {
			if !f(get) {
				return
			}
		}
		name, isThere := get(group).(string)
		if !isThere {
			return
		}
		if column == "" {
			parts[name] = append(parts[name], 1)
		} else if v, is := get(column).(float64); is {
			parts[name] = append(parts[name], v)
		}
	})
	out := map[string]float64{}
	for name, v := range parts {
		out[name] = how(v)
	}
	return out
}

// rows of the table that an answer shows.
func shown(by map[string]float64) []string {
	var out []string
	for name, v := range by {
		out = append(out, "| "+name+" | "+figure(v)+" |")
	}
	slices.Sort(out)
	return out
}

// most is the group with the highest figure; two of them would make the question one
// with two answers.
func most(t map[string]float64) (name string, value float64) {
	value = math.Inf(-1)
	for n, v := range t {
		if v > value {
			name, value = n, v
		}
	}
	for n, v := range t {
		if v == value && n != name {
			panic("the test's own data have no single answer: " + n + ", " + name)
		}
	}
	return name, value
}

func is(column string, value any) func(record) bool {
	return func(get record) bool { return get(column) == value }
}

func where(column string, holds func(float64) bool) func(record) bool {
	return func(get record) bool { v, is := get(column).(float64); return is && holds(v) }
}

func absent(column string) func(record) bool {
	return func(get record) bool { return get(column) == nil }
}

func total(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x
	}
	return s
}
func average(v []float64) float64 { return total(v) / float64(len(v)) }
func middle(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func correlated(x, y []float64) float64 {
	mx, my, sxy, sxx, syy := average(x), average(y), 0.0, 0.0, 0.0
	for i := range x {
		sxy, sxx, syy = sxy+(x[i]-mx)*(y[i]-my), sxx+(x[i]-mx)*(x[i]-mx), syy+(y[i]-my)*(y[i]-my)
	}
	return sxy / math.Sqrt(sxx*syy)
}

// figure writes a number as answers do: thousands apart, two decimals, four digits of
// what is below one.
func figure(f float64) string {
	if f != math.Trunc(f) && math.Abs(f) < 1 {
		return strconv.FormatFloat(f, 'g', 4, 64)
	}
	s := strconv.FormatFloat(f, 'f', 2, 64)
	if f == math.Trunc(f) {
		s = strconv.FormatFloat(f, 'f', 0, 64)
	}
	whole, decimals, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if decimals != "" {
		whole += "." + decimals
	}
	return whole
}

func bold(f float64) []string { return []string{"**" + figure(f) + "**"} }
