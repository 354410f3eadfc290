package fetchspend

import (
	"compress/gzip"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/go-logr/logr/funcr"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/test/crossplane"
)

// The credentials of every test: they may turn up nowhere but in a request to the
// server.
var secrets = map[string]string{"token": "hunter2-token", "username": "hunter2-user", "password": "hunter2-password"}

// asked is a request of fetch-spend for a budget whose status says 1.25 USD.
func asked(t *testing.T, prometheus map[string]any, credentials map[string]string) *fnv1.RunFunctionRequest {
	t.Helper()
	object := func(o map[string]any) *fnv1.Resource {
		s, err := structpb.NewStruct(o)
		if err != nil {
			t.Fatal(err)
		}
		return &fnv1.Resource{Resource: s}
	}
	req := &fnv1.RunFunctionRequest{
		Input: object(map[string]any{"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "FetchSpendInput", "prometheus": prometheus}).GetResource(),
		Observed: &fnv1.State{Composite: object(map[string]any{
			"apiVersion": "whisperops.io/v1alpha1", "kind": "XAgentBudget",
			"metadata": map[string]any{"name": "bot", "namespace": "agent-bot", "creationTimestamp": "2026-11-23T10:00:00Z"},
			"spec":     map[string]any{"agentName": "bot", "budgetUsd": 5.0},
			"status": map[string]any{"spentUsd": 1.25, "ledger": map[string]any{
				"period": "lifetime", "from": "2026-11-23T09:00:00Z", "asOf": "2026-11-23T09:30:00Z", "settledAt": "2026-11-23T09:30:00Z",
				"mapping": "0123456789abcdef", "totals": []any{map[string]any{"model": "m", "class": "output", "tokens": "1250000"}},
			}},
		})},
		RequiredResources: map[string]*fnv1.Resources{requirePricing: {Items: []*fnv1.Resource{object(map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "whisperops-pricing", "namespace": "crossplane-system"},
			"data": map[string]any{"prices.yaml": `models: {m: {input: "1", output: "1"}}`},
		})}}},
	}
	if credentials != nil {
		data := map[string][]byte{}
		for k, v := range credentials {
			data[k] = []byte(v + "\n")
		}
		req.Credentials = map[string]*fnv1.Credentials{"prometheus": {Source: &fnv1.Credentials_CredentialData{CredentialData: &fnv1.CredentialData{Data: data}}}}
	}
	return req
}

// measured runs the function as its program does, but for its clock, and returns
// its response. Nothing that it says or logs may hold a credential.
func measured(ctx context.Context, t *testing.T, req *fnv1.RunFunctionRequest) *fnv1.RunFunctionResponse {
	t.Helper()
	var logged strings.Builder
	l := logging.NewLogrLogger(funcr.New(func(prefix, args string) { fmt.Fprintln(&logged, prefix, args) }, funcr.Options{Verbosity: 9}))
	rsp, err := NewWith(l, storyClock, (&query.Connections{}).Connect).RunFunction(ctx, req)
	if err != nil {
		t.Fatalf("a gRPC error: %v", err)
	}
	if m := crossplane.Fatal(rsp); m != "" {
		t.Fatalf("fatal: %s", m)
	}
	said, err := protojson.Marshal(rsp)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"response": string(said), "log": logged.String()} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("a credential is in the %s: %s", what, text)
		}
	}
	return rsp
}

const (
	matrix = `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`
	sample = `{"metric":{"__name__":"whisperops_tokens_output_total","agent_name":"bot","model":"m","pod":"a"},"values":[[1795427970,"100"],[1795428000,"250000"]]}`
)

func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// TestFailures gives fetch-spend what servers answer when they fail. It is never
// fatal, and never zero: there is no figure, and the ledger isn't touched.
// test/prometheus does the same with the program, behind a real server.
func TestFailures(t *testing.T) {
	cases := map[string]struct {
		why    string
		server http.HandlerFunc
		input  map[string]any // more of prometheus
		reason string
		says   string // in the message
	}{
		"PrometheusBadData":     {why: "A query that this version does not parse.", server: says(400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:8: parse error: unexpected \"[\""}`), reason: "QueryFailed", says: "HTTP 400"},
		"PrometheusExecution":   {why: "A label that two stores disagree about.", server: says(422, `{"status":"error","errorType":"execution","error":"found duplicate series for the match group"}`), reason: "QueryFailed", says: "HTTP 422"},
		"PrometheusTimeout":     {why: "Its own timeout is shorter than ours.", server: says(503, `{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}`), reason: "QueryFailed", says: "HTTP 5xx"},
		"PrometheusCanceled":    {why: "It is shutting down.", server: says(499, `{"status":"error","errorType":"canceled","error":"query was canceled in query execution"}`), reason: "QueryFailed", says: "HTTP 499"},
		"PrometheusUnavailable": {why: "It replays its log after a start.", server: says(503, "Service Unavailable"), reason: "QueryFailed", says: "HTTP 5xx"},
		"PrometheusTooMany":     {why: "The message names the way out.", server: says(422, `{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory in query execution"}`), reason: "TooManySamples", says: "limit"},
		"MimirTooManyChunks":    {why: "Mimir's limits have names of their own.", server: says(422, `{"status":"error","errorType":"execution","error":"the query exceeded the maximum number of chunks (limit: 2000000 chunks) (err-mimir-max-chunks-per-query)"}`), reason: "TooManySamples"},
		"MimirNoOrg":            {why: "A tenant is missing.", server: says(401, "no org id\n"), reason: "Unauthorized", says: "prometheus.tenant"},
		"MimirForbidden":        {why: "A gateway before it refuses.", server: says(403, "<html>403</html>"), reason: "Unauthorized", says: "prometheus.credentialsName"},
		"MimirTooManyRequests":  {why: "Its queue is full.", server: says(429, `{"status":"error","errorType":"too_many_requests","error":"too many outstanding requests"}`), reason: "QueryFailed", says: "HTTP 429"},
		"MimirInternal":         {why: "An ingester is gone; the error says its address and time, which must not move a status.", server: says(500, `{"status":"error","errorType":"internal","error":"rpc error: code = Unavailable desc = connection error: dial tcp 10.4.2.17:9095"}`), reason: "QueryFailed", says: "HTTP 5xx"},
		"GatewayTimeout":        {why: "A proxy gave up.", server: says(504, "upstream request timeout"), reason: "QueryTimedOut"},
		"NotFound":              {why: "The path prefix is missing.", server: says(404, "404 page not found\n"), reason: "QueryFailed", says: "path prefix"},
		"Redirect":              {why: "The credentials are for this server, not for whoever it names.", server: says(302, "", "Location", "http://evil.example.org/?hunter2-token"), reason: "QueryFailed", says: "redirects"},
		"RedirectOfAPost":       {why: "As above: 308 would post it again.", server: says(308, "", "Location", "/prometheus/"), reason: "QueryFailed", says: "redirects"},
		"EchoesCredentials": {why: "What a server says may hold what we sent.", server: func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, r.Header.Get("Authorization"), http.StatusBadRequest)
		}, reason: "QueryFailed"},
		"SaysError":       {why: "200 is not success.", server: says(200, `{"status":"error","errorType":"internal","error":"x"}`), reason: "BadAnswer"},
		"DataWithA400":    {why: "A proxy that mixes up its answers: an empty result would be zero.", server: says(400, `{"data":{"resultType":"matrix","result":[]}}`), reason: "QueryFailed", says: "HTTP 400"},
		"DataWithA422":    {why: "As above.", server: says(422, `{"status":"partial","data":{"resultType":"matrix","result":[`+sample+`]}}`), reason: "QueryFailed", says: "HTTP 422"},
		"Accepted":        {why: "It will answer later, perhaps.", server: says(202, fmt.Sprintf(matrix, "")), reason: "BadAnswer"},
		"Scalar":          {why: "Half a figure is none.", server: says(200, `{"status":"success","data":{"resultType":"scalar","result":[1795428000,"0"]}}`), reason: "BadAnswer", says: "neither samples nor a vector"},
		"UnknownType":     {why: "As above.", server: says(200, `{"status":"success","data":{"resultType":"streams","result":[]}}`), reason: "BadAnswer"},
		"NoData":          {why: "As above.", server: says(200, `{"status":"success"}`), reason: "BadAnswer"},
		"Null":            {why: "As above.", server: says(200, `null`), reason: "BadAnswer"},
		"NullSeries":      {why: "Valid JSON, and nothing to count.", server: says(200, fmt.Sprintf(matrix, "null")), reason: "BadAnswer", says: "null"},
		"NullHistogram":   {why: "As above.", server: says(200, fmt.Sprintf(matrix, `{"metric":{},"histograms":[[1,null]]}`)), reason: "BadAnswer"},
		"NoSampleButText": {why: "A value that is no number at all.", server: says(200, fmt.Sprintf(matrix, `{"metric":{},"values":[[1,"many"]]}`)), reason: "BadAnswer"},
		"OneOfTwo":        {why: "Series that were not asked for beside ours: a cache mixed up two answers.", server: says(200, fmt.Sprintf(matrix, sample+`,{"metric":{"__name__":"up"},"values":[[1,"1"]]}`)), reason: "BadAnswer", says: "not asked for"},
		"Warning":         {why: "A store behind a Thanos or a Mimir did not answer: a part is not the whole.", server: says(200, strings.TrimSuffix(fmt.Sprintf(matrix, sample), "}")+`,"warnings":["store 10.4.2.17 is down"]}`), reason: "PartialAnswer"},
		"ThanosNoStore":   {why: "Partial answers are off, and no store is left: an outage, and no bad query.", server: says(422, `{"status":"error","errorType":"execution","error":"expanding series: No StoreAPIs available"}`), reason: "PartialAnswer", says: "Thanos"},
		"ThanosStoreAway": {why: "As above, while one store is still listed.", server: says(422, `{"status":"error","errorType":"execution","error":"expanding series: proxy Series(): rpc error: code = Unavailable desc = fetch series for {} 10.4.2.17:10901"}`), reason: "PartialAnswer", says: "one of them is away"},
		"VictoriaPartial": {why: "A cluster of VictoriaMetrics of which a storage node is away says so in the answer.", server: says(200, `{"status":"success","isPartial":true,`+strings.TrimPrefix(fmt.Sprintf(matrix, sample), `{"status":"success",`)), reason: "PartialAnswer", says: "isPartial"},
		"PartialBehind":   {why: "As above, through a proxy that sorts keys, behind more series than are kept of an answer.", server: says(200, strings.TrimSuffix(strings.ReplaceAll(fmt.Sprintf(matrix, strings.Repeat(sample+",", 20)+sample), `{"status":"success",`, "{"), "}")+`,"isPartial":true,"status":"success"}`), reason: "PartialAnswer", says: "isPartial"},
		"StatusPartial":   {why: "Neither success nor error.", server: says(200, strings.Replace(fmt.Sprintf(matrix, sample), "success", "partial", 1)), reason: "PartialAnswer"},
		"VictoriaTooMany": {why: "VictoriaMetrics names its flags.", server: says(422, `{"status":"error","errorType":"422","error":"cannot select more than -search.maxSamplesPerQuery=100 samples; possible solutions: increase the -search.maxSamplesPerQuery"}`), reason: "TooManySamples", says: "limit"},
		"VictoriaBusy":    {why: "As above.", server: says(429, "couldn't start executing the request in 10 seconds, since -search.maxConcurrentRequests=2 concurrent requests are executed"), reason: "QueryFailed", says: "HTTP 429"},
		"VictoriaLate":    {why: "It has begun to answer when it notices: the words are those of the same error in time, and don't move from look to look.", server: says(200, fmt.Sprintf(matrix, sample)[:200]+`{"status":"error","errorType":"422","error":"cannot process more than 3000 samples per series; either increase -search.maxSamplesPerSeries or reduce time range for the query"}`), reason: "TooManySamples", says: "reads too much"},
		"LabelSaysLimit":  {why: "As half an answer: what a label says is no error.", server: says(200, strings.ReplaceAll(fmt.Sprintf(matrix, sample)[:120], "whisperops", "limit")), reason: "BadAnswer"},
		"Truncated":       {why: "It says how long it is, and is shorter.", server: says(200, fmt.Sprintf(matrix, sample), "Content-Length", "4000"), reason: "PrometheusUnreachable", says: "broke off"},
		"HalfJSON":        {why: "It doesn't say how long it is.", server: says(200, fmt.Sprintf(matrix, sample)[:120]), reason: "BadAnswer"},
		"Empty":           {why: "Nothing is not zero.", server: says(200, ""), reason: "BadAnswer"},
		"WebPage":         {why: "Somebody's login page.", server: says(200, "<html>Sign in</html>", "Content-Type", "text/html"), reason: "BadAnswer"},
		"Rubbish":         {why: "As above.", server: says(200, "\x00\xff\xfe\x1f\x8b"), reason: "BadAnswer"},
		"ForEver":         {why: "An answer without an end does not fill our memory.", server: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, spaces{}) }, input: map[string]any{"timeout": "60s"}, reason: "TooManySamples", says: "64 MiB"},
		"PackedForEver":   {why: "As above, when it is packed small.", server: packed, input: map[string]any{"timeout": "60s"}, reason: "TooManySamples", says: "64 MiB"},
		"Never":           {why: "It takes the question and is silent.", server: func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }, input: map[string]any{"timeout": "100ms"}, reason: "QueryTimedOut", says: "prometheus.timeout"},
		"HangsUp":         {why: "It hangs up before it answers.", server: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, reason: "PrometheusUnreachable", says: "broke off"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.why)
			srv := httptest.NewServer(tc.server)
			defer srv.Close()
			in := map[string]any{"url": srv.URL, "tenant": "acme", "credentialsName": "prometheus"}
			maps.Copy(in, tc.input)
			failed(t, measured(t.Context(), t, asked(t, in, secrets)), tc.reason, tc.says)
		})
	}
}

// failed checks that there is no figure, and why.
func failed(t *testing.T, rsp *fnv1.RunFunctionResponse, reason, says string) {
	t.Helper()
	ctx := rsp.GetContext().AsMap()
	for _, k := range []string{"spend_usd", "window_sec", "ledger"} {
		if v, ok := ctx[k]; ok {
			t.Errorf("context %s is %v", k, v)
		}
	}
	p, _ := ctx["spend_problem"].(map[string]any)
	message, _ := p["message"].(string)
	if p["reason"] != reason || !strings.Contains(message, says) {
		t.Errorf("the problem is %v, want %s that says %q", p, reason, says)
	}
	// The address of the Composition is said; what a dialer says of it is not.
	words, _, _ := strings.Cut(message, " (Prometheus at ")
	if words == "" || len(message) > 300 || strings.Contains(words, "127.0.0.1") {
		t.Errorf("the message is none for people, or moves: %q", message)
	}
	if ttl := rsp.GetMeta().GetTtl().AsDuration(); ttl < time.Second || ttl > time.Minute {
		t.Errorf("looks again in %s", ttl)
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// packed is 100 MiB of spaces in some 100 KiB.
func packed(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	_, _ = io.CopyN(z, spaces{}, 100<<20)
	_ = z.Close()
}

// TestUnreachable has no server that could answer.
func TestUnreachable(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	plain := httptest.NewServer(says(200, fmt.Sprintf(matrix, sample)))
	defer plain.Close()
	secure := httptest.NewUnstartedServer(says(200, fmt.Sprintf(matrix, sample)))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	secure.StartTLS()
	defer secure.Close()
	cases := map[string]struct {
		why         string
		input       map[string]any
		credentials map[string]string
		canceled    bool
		reason      string
		says        string
	}{
		"Refused":           {why: "Prometheus is being restarted.", input: map[string]any{"url": gone.URL}, reason: "PrometheusUnreachable", says: "refuses connections (Prometheus at " + gone.URL + ")"},
		"NoSuchHost":        {why: "Reserved for what does not exist (RFC 6761).", input: map[string]any{"url": "http://prometheus.invalid"}, reason: "PrometheusUnreachable"},
		"UnknownAuthority":  {why: "Without its CA a server may be anybody.", input: map[string]any{"url": secure.URL}, reason: "PrometheusUnreachable", says: "prometheus.caBundle"},
		"NoTLS":             {why: "The way out is one letter.", input: map[string]any{"url": strings.Replace(plain.URL, "http:", "https:", 1)}, reason: "PrometheusUnreachable", says: "The server speaks http, and prometheus.url says https"},
		"OnlyTLS":           {why: "As above. A server that is no query API does not say what it refuses.", input: map[string]any{"url": strings.Replace(secure.URL, "https:", "http:", 1)}, reason: "QueryFailed", says: "prometheus.url may have to say https"},
		"NoPEM":             {why: "A bundle that verifies nothing would verify everything.", input: map[string]any{"url": secure.URL, "caBundle": "-----BEGIN"}, reason: "InvalidCA"},
		"NoPEMInSecret":     {why: "As above.", input: map[string]any{"url": secure.URL, "credentialsName": "prometheus"}, credentials: map[string]string{"ca.crt": "x"}, reason: "InvalidCA"},
		"NoURL":             {why: "A host alone is not enough.", input: map[string]any{"url": "prometheus:9090"}, reason: "InvalidURL"},
		"OtherScheme":       {why: "No file is read.", input: map[string]any{"url": "file:///etc/passwd"}, reason: "InvalidURL"},
		"NoCredentials":     {why: "The Composition names what the step doesn't have.", input: map[string]any{"url": secure.URL, "credentialsName": "prometheus"}, reason: "CredentialsMissing", says: `"prometheus"`},
		"EmptyCredentials":  {why: "A Secret with other keys would be asked without any.", input: map[string]any{"url": secure.URL, "credentialsName": "prometheus"}, credentials: map[string]string{"bearer": "hunter2"}, reason: "CredentialsMissing", says: "neither token nor username"},
		"Canceled":          {why: "Crossplane gave up.", input: map[string]any{"url": secure.URL, "caBundle": certificate(secure)}, canceled: true, reason: "PrometheusUnreachable"},
		"UserinfoIsASecret": {why: "An error quotes the URL it failed at.", input: map[string]any{"url": strings.Replace(gone.URL, "//", "//me:hunter2@", 1)}, reason: "PrometheusUnreachable"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.why)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tc.canceled {
				cancel()
			}
			failed(t, measured(ctx, t, asked(t, tc.input, tc.credentials)), tc.reason, tc.says)
		})
	}
}

func certificate(srv *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
}

// TestRequest is what a server is asked, and as whom.
func TestRequest(t *testing.T) {
	const basic = "Basic aHVudGVyMi11c2VyOmh1bnRlcjItcGFzc3dvcmQ="
	cases := map[string]struct {
		why         string
		input       map[string]any
		path        string // before it the server's URL
		credentials map[string]string
		header      map[string]string
		asked       string
		getOnly     bool
	}{
		"Plain":         {why: "Nothing is sent that nobody asked for.", header: map[string]string{"Authorization": "", "X-Scope-Orgid": "", "User-Agent": "function-budget-fetch-spend"}, asked: "POST /api/v1/query"},
		"Mimir":         {why: "Behind a path prefix, with a tenant.", path: "/prometheus", input: map[string]any{"tenant": "acme"}, header: map[string]string{"X-Scope-Orgid": "acme"}, asked: "POST /prometheus/api/v1/query"},
		"TrailingSlash": {why: "People write it.", path: "/prometheus/", asked: "POST /prometheus/api/v1/query"},
		"QueryString":   {why: "A URL copied from a browser.", path: "/graph?g0.expr=up#x", asked: "POST /graph/api/v1/query"},
		"Bearer":        {why: "A token, without the newline that editors leave.", input: map[string]any{"credentialsName": "prometheus"}, credentials: map[string]string{"token": "hunter2-token"}, header: map[string]string{"Authorization": "Bearer hunter2-token"}, asked: "POST /api/v1/query"},
		"Basic":         {why: "A user and a password.", input: map[string]any{"credentialsName": "prometheus"}, credentials: map[string]string{"username": "hunter2-user", "password": "hunter2-password"}, header: map[string]string{"Authorization": basic}, asked: "POST /api/v1/query"},
		"Both":          {why: "A token is the stronger of the two.", input: map[string]any{"credentialsName": "prometheus"}, credentials: secrets, header: map[string]string{"Authorization": "Bearer hunter2-token"}, asked: "POST /api/v1/query"},
		"NotNamed":      {why: "Credentials of the step that the input does not name are somebody else's.", credentials: secrets, header: map[string]string{"Authorization": ""}, asked: "POST /api/v1/query"},
		"OnlyGet":       {why: "A read-only proxy lets no POST pass.", getOnly: true, asked: "GET /api/v1/query"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.why)
			var got *http.Request
			var timeout string
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tc.getOnly && r.Method != http.MethodGet {
					w.WriteHeader(http.StatusMethodNotAllowed)
					return
				}
				got, timeout = r, r.FormValue("timeout")
				if strings.HasPrefix(r.FormValue("query"), "last_over_time(") {
					fmt.Fprintf(w, matrix, "") // the pod is new
					return
				}
				fmt.Fprintf(w, matrix, sample)
			}))
			defer srv.Close()
			in := map[string]any{"url": srv.URL + tc.path}
			maps.Copy(in, tc.input)
			rsp := measured(t.Context(), t, asked(t, in, tc.credentials))
			// 1.25 USD are settled, and the ledger's mapping is another one: the series
			// starts where it is.
			if usd := rsp.GetContext().GetFields()["spend_usd"].GetNumberValue(); usd != 1.4999 {
				t.Errorf("spend_usd is %v, %v", usd, rsp.GetContext())
			}
			if asked := got.Method + " " + got.URL.Path; asked != tc.asked {
				t.Errorf("asked %s, want %s", asked, tc.asked)
			}
			for k, v := range tc.header {
				if got.Header.Get(k) != v {
					t.Errorf("header %s is %q, want %q", k, got.Header.Get(k), v)
				}
			}
			if timeout != "10s" {
				t.Errorf("the server may take %q", timeout)
			}
		})
	}
}

// A server's certificate is verified by the bundle of the input, or of the Secret.
func TestCA(t *testing.T) {
	srv := httptest.NewTLSServer(says(200, fmt.Sprintf(matrix, sample)))
	defer srv.Close()
	for name, tc := range map[string]struct {
		input       map[string]any
		credentials map[string]string
	}{
		"Input":  {input: map[string]any{"url": srv.URL, "caBundle": certificate(srv)}},
		"Secret": {input: map[string]any{"url": srv.URL, "credentialsName": "prometheus"}, credentials: map[string]string{"ca.crt": certificate(srv)}},
	} {
		t.Run(name, func(t *testing.T) {
			rsp := measured(t.Context(), t, asked(t, tc.input, tc.credentials))
			if p, ok := rsp.GetContext().AsMap()["spend_problem"]; ok {
				t.Error(p)
			}
		})
	}
}

// Infos are remarks on how a query is written, and no warnings: the answer is whole.
func TestInfosAreNoWarnings(t *testing.T) {
	srv := httptest.NewServer(says(200, strings.TrimSuffix(fmt.Sprintf(matrix, sample), "}")+`,"infos":["PromQL info: metric might not be a counter"]}`))
	defer srv.Close()
	rsp := measured(t.Context(), t, asked(t, map[string]any{"url": srv.URL}, nil))
	if p, ok := rsp.GetContext().AsMap()["spend_problem"]; ok {
		t.Error(p)
	}
}

// What is wrong with a ConfigMap is said in the words of who can mend it.
func TestPrices(t *testing.T) {
	cases := map[string]struct {
		reason string
		items  []any // what of a ConfigMap was found
		want   string
	}{
		"None":       {reason: "Its name and namespace are the way out.", want: `PricingNotFound: ConfigMap "acme/prices", the price table that spec.pricingRef names, does not exist`},
		"NoData":     {reason: "Somebody made it by hand.", items: []any{map[string]any{}}, want: `PricingInvalid: ConfigMap "acme/prices" has no key prices.yaml`},
		"OtherKey":   {reason: "A file of another name.", items: []any{map[string]any{"data": map[string]any{"prices.yml": "x"}}}, want: `PricingInvalid: ConfigMap "acme/prices" has no key prices.yaml, but "prices.yml": the table must stand under that name`},
		"OtherKeys":  {reason: "As above, as far as it helps; what is none of a price table's business is not named.", items: []any{map[string]any{"data": map[string]any{"pricing.yaml": "x", "Prices.yaml": "x", "ca.crt": "x"}, "binaryData": map[string]any{"prices.xls": "x", "prices.ods": "x"}}}, want: `PricingInvalid: ConfigMap "acme/prices" has no key prices.yaml, but "Prices.yaml", "prices.ods", "prices.xls", more: the table must stand under that name`},
		"BinaryData": {reason: "kubectl puts a file there that is no UTF-8, such as what some editors call Unicode: the key is to be seen, and can't be read.", items: []any{map[string]any{"binaryData": map[string]any{"prices.yaml": "//5t"}}}, want: `PricingInvalid: ConfigMap "acme/prices" has prices.yaml in binaryData: save the file as UTF-8, and make it anew`},
		"Broken":     {reason: "The error of the table comes after where it is.", items: []any{map[string]any{"data": map[string]any{"prices.yaml": "{}"}}}, want: `PricingInvalid: prices.yaml of ConfigMap "acme/prices" can't be used: it has no models`},
		"Good":       {reason: "Nothing is wrong.", items: []any{map[string]any{"data": map[string]any{"prices.yaml": `models: {m: {input: "1", output: "1"}}`}}}},
		"Rubbish":    {reason: "No API server answers so.", items: []any{map[string]any{"data": "prices.yaml", "binaryData": 7.0}}, want: `PricingInvalid: ConfigMap "acme/prices" has no key prices.yaml`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			found := &fnv1.Resources{}
			for _, i := range tc.items {
				s, err := structpb.NewValue(i)
				if err != nil {
					t.Fatal(err)
				}
				found.Items = append(found.Items, &fnv1.Resource{Resource: s.GetStructValue()})
			}
			c := &edge.Call{Req: &fnv1.RunFunctionRequest{RequiredResources: map[string]*fnv1.Resources{requirePricing: found}}}
			items, _ := c.Required(requirePricing)
			table, problem := station{tables: &tables{}}.prices(items, v1alpha1.PricingReference{Namespace: "acme", Name: "prices"})
			got := ""
			if problem != nil {
				got = problem.Reason + ": " + problem.Message
			}
			if got != tc.want || (table == nil) != (tc.want != "") {
				t.Errorf("got %q, want %q, and a table %v", got, tc.want, table)
			}
		})
	}
}
