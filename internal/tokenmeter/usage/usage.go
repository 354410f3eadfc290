// Package usage reads what providers of language models say about the tokens of a
// call. It is handed the decoded bytes of an answer, cut anywhere, and knows how
// each dialect counts: which figures contain others, which are cumulative, and
// where they stand. It never counts by itself: a provider's figures or none.
//
// What it knows about the dialects is written down, with sources, in
// docs/token-meter.md.
package usage

import "strings"

// A Dialect is the language of a provider's API, as it stands in the meter's paths.
type Dialect string

// The dialects.
const (
	Gemini    Dialect = "gemini"
	OpenAI    Dialect = "openai"
	Anthropic Dialect = "anthropic"
)

// A Class is a kind of token with a price of its own. Classes are disjoint.
type Class int

// The classes, in the order in which they are shown.
const (
	Input       Class = iota // read for the first time, not for the cache
	CachedInput              // read from a cache
	CacheWrite               // read and written to a cache
	Output                   // the visible answer
	Thoughts                 // thinking, billed like output
	ToolUse                  // what a provider's own tools read
	Classes                  // how many there are
)

var classNames = [Classes]string{"input", "cachedInput", "cacheWrite", "output", "thoughts", "toolUse"}

// String is the value of the label class.
func (c Class) String() string { return classNames[c] }

// Tokens of a call by class.
type Tokens [Classes]uint64

// Sum is the number of all tokens.
func (t Tokens) Sum() uint64 {
	var n uint64
	for _, v := range t {
		n += v
	}
	return n
}

// Prompt is the size of the whole prompt, cached or not: what decides whether a
// call is one with a long context.
func (t Tokens) Prompt() uint64 { return t[Input] + t[CachedInput] + t[CacheWrite] + t[ToolUse] }

// Minus is what t has more than u, class by class.
func (t Tokens) Minus(u Tokens) Tokens {
	for c := range t {
		t[c] -= min(t[c], u[c])
	}
	return t
}

// Plus is the sum, class by class.
func (t Tokens) Plus(u Tokens) Tokens {
	for c := range t {
		t[c] += u[c]
	}
	return t
}

// An Item is what one model used in a call.
type Item struct {
	// Model as the provider names it. Empty: it didn't say.
	Model  string
	Tokens Tokens
}

// A Report is what an answer said so far.
type Report struct {
	// Items: the model that answered first, then those it consulted.
	Items []Item

	// Tier that served the call: "standard" unless the provider says otherwise.
	Tier string

	// Seen: there were figures of usage, zeros or not.
	Seen bool

	// Final: the figures are the last ones there will be.
	Final bool

	// Complete: the answer said that it is over.
	Complete bool

	// Failed: the answer held an error event.
	Failed bool

	// Mismatch is how far the provider's total and the sum of its classes are
	// apart, in tokens.
	Mismatch uint64

	// Unread counts documents that could not be read: no JSON, or too large.
	Unread int

	// InputOnly: the figures of the output are still to come, as at the beginning of
	// Anthropic's streams, whose first figure for it is provisional.
	InputOnly bool
}

// Tiers are the values of the label tier; any other is "other".
const (
	TierStandard = "standard"
	TierOther    = "other"
)

var tiers = map[string]string{
	"": TierStandard, "standard": TierStandard, "default": TierStandard, "auto": TierStandard, "standard_only": TierStandard,
	"on_demand": TierStandard, "unspecified": TierStandard, "traffic_type_unspecified": TierStandard, "service_tier_unspecified": TierStandard,
	"priority": "priority", "on_demand_priority": "priority", "service_tier_priority": "priority",
	"flex": "flex", "on_demand_flex": "flex", "service_tier_flex": "flex",
	"on_demand_offpeak": "offpeak", "offpeak": "offpeak",
	"batch": "batch", "fast": "fast", "ultrafast": "ultrafast",
	"scale": "provisioned", "provisioned_throughput": "provisioned",
}

// Tier is the value of the label tier for what a provider calls it.
func Tier(name string) string {
	if t, ok := tiers[strings.ToLower(strings.TrimSpace(name))]; ok {
		return t
	}
	return TierOther
}

// A Reader is told the decoded bytes of one answer, cut anywhere. It doesn't
// fail: what it can't read it counts, and goes on. It keeps one document of the
// answer at most, and of it at most MaxDocument bytes.
//
// Most events of a stream say nothing new of tokens, so that they are looked over
// and not parsed: a meter must not cost more than the network.
type Reader struct {
	frames frames
	fold   func(*Report, []byte)
	words  *words
	first  bool   // a document was read: the first one is, it names the model
	latest []byte // of the growing ones, not read yet
	report Report
	state  anthropicState
}

// words that stand in the documents of a dialect that matter. Inside a string a
// quote has a backslash before it, so that no text can look like one of these.
type words struct {
	set     *wordSet
	telling uint32 // a document that has one of these is read at once
	growing uint32 // one that has all of these holds figures that a later one replaces; 0: there are none
	failing *wordSet
}

var (
	geminiWords    = &words{newWordSet(`"finishReason"`, `"blockReason"`, `"usageMetadata"`, `"totalTokenCount"`), 0b0011, 0b1100, newWordSet(`"error"`)}
	openAIWords    = &words{newWordSet(`_tokens"`, `"error"`, `"response.completed"`, `"response.failed"`, `"response.incomplete"`, `"response.cancelled"`), 0b111111, 0, nil}
	anthropicWords = &words{newWordSet(`"usage"`, `"message_stop"`, `"error"`), 0b111, 0, nil}
)

// MaxDocument bounds what is kept of one event or of one plain answer, in bytes.
// What is larger is relayed all the same, but not read.
const MaxDocument = 32 << 20

// NewReader returns a reader of one answer. Tier is what its headers say about the
// service tier, empty if nothing.
func NewReader(d Dialect, tier string) *Reader {
	r := &Reader{report: Report{Tier: Tier(tier)}}
	switch d {
	case OpenAI:
		r.fold, r.words = foldOpenAI, openAIWords
	case Anthropic:
		r.fold, r.words = r.state.fold, anthropicWords
	default:
		r.fold, r.words = foldGemini, geminiWords
	}
	r.frames.emit = r.document
	return r
}

// Write never fails.
func (r *Reader) Write(p []byte) (int, error) {
	r.frames.write(p)
	return len(p), nil
}

// Close says that there is no more.
func (r *Reader) Close() {
	r.frames.close()
	r.report.Unread += r.frames.dropped
	r.frames.dropped = 0
}

// Report is what was said so far.
func (r *Reader) Report() Report {
	r.catchUp()
	rep := r.report
	rep.Unread += r.frames.dropped
	return rep
}

// Final says whether the last figures were read.
func (r *Reader) Final() bool { return r.report.Final }

func (r *Reader) catchUp() {
	if len(r.latest) > 0 {
		r.fold(&r.report, r.latest)
		if cap(r.latest) > keepBuffer {
			r.latest = nil
		}
		r.latest = r.latest[:0]
	}
}

func (r *Reader) document(doc []byte) {
	if !r.first || len(doc) < 2 || doc[0] != '{' || doc[len(doc)-1] != '}' {
		r.read(doc)
		return
	}
	w := r.words
	switch found := w.set.in(doc, w.telling); {
	case found&w.telling != 0:
		r.read(doc)
	case w.growing != 0 && found&w.growing == w.growing:
		r.latest = append(r.latest[:0], doc...)
	case w.failing != nil && w.failing.in(doc, 1) != 0:
		r.read(doc)
	}
}

func (r *Reader) read(doc []byte) {
	r.first = true
	r.catchUp()
	r.fold(&r.report, doc)
}
