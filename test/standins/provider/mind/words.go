package mind

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A word of a question.
type word struct {
	text   string // lower case
	raw    string // as it was typed
	stem   string
	quoted bool
	used   bool // it is explained: part of a column's name, or of a filter
	entity bool // it is what a row of the table is
	alike  bool // it is used for a column that it doesn't name: "warmest" says a job, too
}

var wordPattern = regexp.MustCompile("\"[^\"]+\"|“[^”]+”|`[^`]+`|'[^']+'(?:\\s|$|[?.,])|[<>]=?|==?|\\d{1,3}(?:,\\d{3})+(?:\\.\\d+)?%?|[\\p{L}\\p{N}_]+(?:[.'’-][\\p{L}\\p{N}_]+)*%?")

// words cuts a question. What stands in quotation marks is one word.
func words(question string) []word {
	var out []word
	for _, raw := range wordPattern.FindAllString(question, -1) {
		w := word{raw: raw}
		if first, _ := firstRune(raw); strings.ContainsRune("\"“`'", first) {
			w.raw = strings.Trim(strings.TrimRight(raw, " \t\n?.,"), "\"“”`'")
			w.quoted = true
		}
		w.raw = strings.TrimSuffix(strings.TrimSuffix(w.raw, "'s"), "’s")
		w.text = strings.ToLower(w.raw)
		w.stem = stem(w.text)
		out = append(out, w)
	}
	return out
}

func firstRune(s string) (rune, bool) {
	for _, r := range s {
		return r, true
	}
	return 0, false
}

// unaccented is a word as people type it who have no such key: etage for étage.
func unaccented(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(s))
}

// stem takes accents and a plural's ending away: enough to find "cities" in "city".
func stem(s string) string {
	s = unaccented(s)
	switch {
	case len(s) > 4 && strings.HasSuffix(s, "ies"):
		return s[:len(s)-3] + "y"
	case len(s) > 4 && (strings.HasSuffix(s, "sses") || strings.HasSuffix(s, "xes") || strings.HasSuffix(s, "ches") || strings.HasSuffix(s, "shes")):
		return s[:len(s)-2]
	case len(s) > 3 && strings.HasSuffix(s, "s") && !strings.HasSuffix(s, "ss") && !strings.HasSuffix(s, "us") && !strings.HasSuffix(s, "is"):
		return s[:len(s)-1]
	}
	return s
}

// nameWords cuts a column's name: median_house_value, Order Date, unitPrice.
func nameWords(name string) []string {
	var out []string
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			out = append(out, stem(strings.ToLower(b.String())))
			b.Reset()
		}
	}
	before := rune(0)
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
		case unicode.IsUpper(r) && unicode.IsLower(before):
			flush()
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
		before = r
	}
	flush()
	return out
}

// alike says what people call things that a table calls otherwise.
var alike = map[string][]string{
	"price":     {"price", "cost", "value", "amount", "fare", "charge"},
	"cost":      {"cost", "price", "amount", "fare"},
	"worth":     {"value", "price"},
	"expensive": {"price", "cost", "value", "fare", "amount"},
	"cheap":     {"price", "cost", "value", "fare", "amount"},
	"cheapest":  {"price", "cost", "value", "fare", "amount"},
	"money":     {"amount", "price", "cost", "revenue", "sale"},
	"revenue":   {"revenue", "sale", "amount", "turnover"},
	"sale":      {"sale", "revenue", "amount", "turnover"},
	"earning":   {"income", "salary", "revenue"},
	"salary":    {"salary", "income", "wage", "pay"},
	"old":       {"age"},
	"oldest":    {"age"},
	"youngest":  {"age"},
	"country":   {"country", "nation"},
	"city":      {"city", "town"},
	"people":    {"population", "person"},
	"heavy":     {"weight", "mass"},
	"heaviest":  {"weight", "mass"},
	"tall":      {"height"},
	"tallest":   {"height"},
	"long":      {"length", "duration"},
	"longest":   {"length", "duration"},
	"hot":       {"temperature", "temp"},
	"hottest":   {"temperature", "temp"},
	"warmest":   {"temperature", "temp"},
	"cold":      {"temperature", "temp"},
	"coldest":   {"temperature", "temp"},
	"temp":      {"temperature"},
	"rain":      {"rainfall", "precipitation"},
	"spent":     {"price", "amount", "cost", "revenue", "sale", "fare"},
	"spend":     {"price", "amount", "cost", "revenue", "sale", "fare"},
	"paid":      {"fare", "price", "amount", "cost", "fee"},
	"pay":       {"fare", "price", "amount", "cost", "fee"},
}

// plain words carry no meaning of a column's.
var plain = map[string]bool{}

func init() { //nolint:gochecknoinits // a set is read better as one text
	for w := range strings.FieldsSeq(`a an the of in on at by for to from with and or is are was were be been do does did has have had there this that these those it its
		what which who whom whose where when how many much me my our your i you we they show give tell please can could would per each every all any some
		data dataset table file csv row record line entry column field value as into than then only just about so if`) {
		plain[w] = true
	}
}

// people are called so by columns.
var people = map[string]bool{"name": true, "member": true, "customer": true, "client": true, "person": true, "user": true, "employee": true, "patient": true, "player": true, "student": true, "driver": true, "guest": true, "passenger": true, "author": true, "seller": true, "teacher": true}

// distance counts the letters that differ, at most two of them.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > len(y) {
		x, y = y, x
	}
	if len(y)-len(x) > 1 {
		return 2
	}
	i := 0
	for i < len(x) && x[i] == y[i] {
		i++
	}
	switch {
	case len(x) == len(y) && i == len(x):
		return 0
	case len(x) == len(y) && slices.Equal(x[i+1:], y[i+1:]):
		return 1
	case len(x) == len(y) && i+1 < len(x) && x[i] == y[i+1] && x[i+1] == y[i] && slices.Equal(x[i+2:], y[i+2:]):
		return 1 // two letters changed places
	case len(x) < len(y) && slices.Equal(x[i:], y[i+1:]):
		return 1
	}
	return 2
}
