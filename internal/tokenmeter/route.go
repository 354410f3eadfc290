package tokenmeter

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"whisperops.io/functions/internal/tokenmeter/usage"
)

// An op is what a path asks a provider to do.
type op int

const (
	opUnknown  op = iota // may cost money that nobody would count
	opGenerate           // costs tokens, and says how many
	opFree               // costs nothing: lists models, counts tokens
)

// A form is how the body of a generating call is made.
type form int

const (
	formGemini form = iota
	formChat
	formResponses
	formMessages
)

// A route is what a request's path says.
type route struct {
	agent   string
	dialect usage.Dialect // of the path: whose errors the caller understands
	path    string        // the provider's own, escaped

	op     op
	form   form
	reads  usage.Dialect // of the answer
	model  string        // empty: it stands in the body
	vertex bool          // the path names a project of Google Cloud
}

var (
	agentPath = regexp.MustCompile(`^/agents/([a-z][a-z0-9-]{1,22}[a-z0-9])/(gemini|openai|anthropic)(/.*)$`)

	geminiPath    = regexp.MustCompile(`^/v[a-z0-9]+/(projects/[^/]+/locations/[^/]+/)?(?:publishers/([^/]+)/)?(?:models|tunedModels|endpoints)/([^/:]+):([a-zA-Z]+)$`)
	compatPath    = regexp.MustCompile(`^/v[a-z0-9]+/projects/[^/]+/locations/[^/]+/endpoints/[^/]+/chat/completions$`)
	modelsPath    = regexp.MustCompile(`^/v[a-z0-9]+/models(/[^/:]+)?$`)
	chatPath      = regexp.MustCompile(`^(/[A-Za-z0-9._-]+)*/chat/completions$`)
	responsesPath = regexp.MustCompile(`^(/v[0-9]+)?/responses$`)
)

// parseRoute reads /agents/<agentName>/<dialect>/<the provider's own path>. It
// returns false for a path that isn't of this shape.
func parseRoute(method string, u *url.URL) (route, bool) {
	m := agentPath.FindStringSubmatch(u.EscapedPath())
	if m == nil {
		return route{}, false
	}
	r := route{agent: m[1], dialect: usage.Dialect(m[2]), path: m[3]}
	r.reads = r.dialect
	path, err := url.PathUnescape(r.path)
	if err != nil || strings.Contains(path, "/../") {
		return r, true
	}
	post := method == http.MethodPost
	switch {
	case method == http.MethodGet && modelsPath.MatchString(path):
		r.op = opFree
	case post && r.vertexForm(path):
	case post && r.dialect == usage.OpenAI && chatPath.MatchString(path):
		r.op, r.form = opGenerate, formChat
	case post && r.dialect == usage.OpenAI && responsesPath.MatchString(path):
		r.op, r.form = opGenerate, formResponses
	case post && r.dialect == usage.Anthropic && path == "/v1/messages":
		r.op, r.form = opGenerate, formMessages
	case post && r.dialect == usage.Anthropic && path == "/v1/messages/count_tokens":
		r.op = opFree
	}
	return r, true
}

// vertexForm reads Google's paths, which name the model: of the Gemini API, and of
// Vertex, where other providers' dialects hide behind rawPredict.
func (r *route) vertexForm(path string) bool {
	if compatPath.MatchString(path) && r.dialect != usage.Anthropic {
		r.op, r.form, r.reads, r.vertex = opGenerate, formChat, usage.OpenAI, true
		return true
	}
	m := geminiPath.FindStringSubmatch(path)
	if m == nil {
		return false
	}
	publisher, verb := m[2], m[4]
	r.vertex, r.model = m[1] != "", m[3]
	switch verb {
	case "generateContent", "streamGenerateContent":
		if r.dialect == usage.Gemini {
			r.op, r.form = opGenerate, formGemini
		}
	case "countTokens":
		if r.dialect == usage.Gemini {
			r.op = opFree
		}
	case "rawPredict", "streamRawPredict":
		switch {
		case !r.vertex:
		case publisher == "anthropic":
			r.op, r.form, r.reads = opGenerate, formMessages, usage.Anthropic
		case publisher == "mistralai":
			r.op, r.form, r.reads = opGenerate, formChat, usage.OpenAI
		}
	}
	return true
}
