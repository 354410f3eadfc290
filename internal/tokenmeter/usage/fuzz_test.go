package usage_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"whisperops.io/functions/internal/tokenmeter/fakeprovider"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

// ways to ask, with the body of the request and the classes that the dialect has not.
var ways = []struct {
	path, body string
	dialect    usage.Dialect
	without    usage.Class
}{
	{"/v1beta/models/m:generateContent", "{}", usage.Gemini, usage.CacheWrite},
	{"/v1beta/models/m:streamGenerateContent?alt=sse", "{}", usage.Gemini, usage.CacheWrite},
	{"/v1beta/models/m:streamGenerateContent", "{}", usage.Gemini, usage.CacheWrite},
	{"/v1/chat/completions", "{}", usage.OpenAI, usage.ToolUse},
	{"/v1/chat/completions", `{"stream":true,"stream_options":{"include_usage":true}}`, usage.OpenAI, usage.ToolUse},
	{"/v1/responses", "{}", usage.OpenAI, usage.ToolUse},
	{"/v1/responses", `{"stream":true}`, usage.OpenAI, usage.ToolUse},
	{"/v1/messages", "{}", usage.Anthropic, usage.ToolUse},
	{"/v1/messages", `{"stream":true}`, usage.Anthropic, usage.ToolUse},
}

// answerTo is what a provider says to a way of asking.
func answerTo(way int, p fakeprovider.Plan) []byte {
	r := httptest.NewRequest(http.MethodPost, ways[way].path, strings.NewReader(ways[way].body))
	r.Header.Set(fakeprovider.PlanHeader, p.Header())
	w := httptest.NewRecorder()
	fakeprovider.New().ServeHTTP(w, r)
	return w.Body.Bytes()
}

// read is the report of an answer in pieces; the last piece is what is left.
func read(d usage.Dialect, answer, pieces []byte) usage.Report {
	r := usage.NewReader(d, "")
	for _, n := range pieces {
		n := min(int(n)+1, len(answer))
		r.Write(answer[:n]) //nolint:errcheck // it never fails
		answer = answer[n:]
	}
	r.Write(answer) //nolint:errcheck // as above
	r.Close()
	return r.Report()
}

// FuzzPieces: wherever the answers of each dialect are cut into pieces, the figures
// are the provider's.
func FuzzPieces(f *testing.F) {
	for way := range ways {
		f.Add(uint8(way), uint64(77), uint8(4), uint8(7), "text", []byte{0, 3, 200, 1})
		f.Add(uint8(way), uint64(1), uint8(1), uint8(0), "\"}]\r\n\ndata: [DONE]\n\n\"usageMetadata\":{\"totalTokenCount\":5}", make([]byte, 600))
	}
	f.Fuzz(func(t *testing.T, way uint8, tokens uint64, events, style uint8, text string, pieces []byte) {
		way %= uint8(len(ways))
		w := ways[way]
		var want usage.Tokens
		for c := range want {
			want[c] = tokens >> (8 * c) & 0xffff
		}
		want[usage.Input]++ // no prompt is empty
		want[w.without] = 0
		answer := answerTo(int(way), fakeprovider.Plan{
			Agent: "a", Model: "m", Tokens: want, Events: 1 + int(events%20), Text: strings.ToValidUTF8(text, "?"),
			CRLF: style&1 > 0, NoBlank: style&2 > 0, Comments: style&4 > 0,
		})
		got := read(w.dialect, answer, pieces)
		if !got.Final || got.Unread != 0 || got.Mismatch != 0 || len(got.Items) != 1 || got.Items[0].Tokens != want {
			t.Errorf("want %v, got %+v from %q", want, got, answer)
		}
	})
}

// FuzzRubbish: bytes that are no answer do no harm, and are read in the same way
// whether they come at once or in pieces.
func FuzzRubbish(f *testing.F) {
	for way := range ways {
		answer := answerTo(way, fakeprovider.Plan{Agent: "a", Model: "m", Tokens: usage.Tokens{5, 4, 0, 3, 2, 0}, Events: 2})
		f.Add(uint8(way), answer, []byte{0, 3, 200, 1})
		f.Add(uint8(way), answer[:len(answer)*2/3], []byte{7})
		f.Add(uint8(way), bytes.ReplaceAll(answer, []byte("\n"), []byte("\r")), []byte{1, 1, 1})
		f.Add(uint8(way), bytes.ReplaceAll(answer, []byte("\n\n"), []byte("\n")), []byte{9})
	}
	f.Add(uint8(0), []byte("\xef\xbb\xbf[{\"usageMetadata\":{\"totalTokenCount\":1e30}}]"), []byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, way uint8, answer, pieces []byte) {
		d := ways[way%uint8(len(ways))].dialect
		if diff := cmp.Diff(read(d, answer, nil), read(d, answer, pieces)); diff != "" {
			t.Errorf("%q: -whole +in pieces: %s", answer, diff)
		}
	})
}

// TestSplitAnywhere: every answer cut in two at every byte: in the middle of a rune,
// of CR and LF, of the word that would be looked for.
func TestSplitAnywhere(t *testing.T) {
	for way, w := range ways {
		for _, crlf := range []bool{false, true} {
			t.Run(fmt.Sprint(way, crlf), func(t *testing.T) {
				want := usage.Tokens{11, 7, 5, 3, 2, 1}
				want[w.without] = 0
				answer := answerTo(way, fakeprovider.Plan{Agent: "a", Model: "m", Tokens: want, Events: 2, CRLF: crlf, Text: "ü\"\r\n"})
				for i := range answer {
					r := usage.NewReader(w.dialect, "")
					r.Write(answer[:i]) //nolint:errcheck // it never fails
					r.Write(answer[i:]) //nolint:errcheck // as above
					r.Close()
					if got := r.Report(); !got.Final || got.Items[0].Tokens != want || got.Unread != 0 {
						t.Fatalf("cut at %d: %+v", i, got)
					}
				}
			})
		}
	}
}
