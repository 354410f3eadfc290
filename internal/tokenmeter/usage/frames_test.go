package usage

import (
	"bytes"
	"testing"
)

// TestOddStreams: what servers were seen to send, or could.
func TestOddStreams(t *testing.T) {
	huge := bytes.Repeat([]byte("x"), MaxDocument+10)
	for name, c := range map[string]struct {
		reason  string
		dialect Dialect
		stream  []byte
		want    Tokens
		unread  int
	}{
		"NoEmptyLine": {
			reason:  "A server that never ends an event would have its whole answer kept until the memory is gone.",
			dialect: Gemini,
			stream:  []byte("data: {\"usageMetadata\":{\"promptTokenCount\":3,\"totalTokenCount\":3}}\ndata: {\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":4,\"totalTokenCount\":7}}\n"),
			want:    Tokens{Input: 3, Output: 4},
		},
		"LineTooLong": {
			reason:  "A line that is too long is skipped, and not the rest of the stream.",
			dialect: Gemini,
			stream:  append(append([]byte("data: {\"a\":\""), huge...), []byte("\"}\n\ndata: {\"usageMetadata\":{\"promptTokenCount\":3,\"totalTokenCount\":3}}\n\n")...),
			want:    Tokens{Input: 3},
			unread:  1,
		},
		"Comments": {
			reason:  "A comment is no data, whatever it says.",
			dialect: OpenAI,
			stream:  []byte(": OPENROUTER PROCESSING\n\n: {\"usage\":{\"prompt_tokens\":9}}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}\n\ndata: [DONE]\n\n"),
			want:    Tokens{Input: 3},
		},
		"UsageBesideContent": {
			reason:  "Gemini's figures stand in the events that have text, not in one of their own.",
			dialect: Gemini,
			stream:  []byte("data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":4,\"totalTokenCount\":7}}\n\n"),
			want:    Tokens{Input: 3, Output: 4},
		},
		"ThoughtsOnly": {
			reason:  "An answer may be thoughts and nothing else, and then says nothing of candidates.",
			dialect: Gemini,
			stream:  []byte(`{"usageMetadata":{"promptTokenCount":21,"thoughtsTokenCount":60,"totalTokenCount":81}}`),
			want:    Tokens{Input: 21, Thoughts: 60},
		},
		"LastEventFails": {
			reason:  "An error that comes with figures ends the stream: both are read.",
			dialect: Gemini,
			stream:  []byte("data: {}\n\ndata: {\"usageMetadata\":{\"promptTokenCount\":3,\"totalTokenCount\":3},\"error\":{\"code\":429}}\n\n"),
			want:    Tokens{Input: 3},
		},
		"ThinkingLeftOut": {
			reason:  "Google's endpoint for OpenAI's clients leaves thinking out of the completion, and has it in the total.",
			dialect: OpenAI,
			stream:  []byte(`{"choices":[{}],"usage":{"prompt_tokens":1469,"completion_tokens":744,"total_tokens":2496}}`),
			want:    Tokens{Input: 1469, Output: 744, Thoughts: 283},
		},
		"TextThatLooksLikeUsage": {
			reason:  "What a model writes is text, also if it writes of usage.",
			dialect: Anthropic,
			stream:  []byte("data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"{\\\"usage\\\":{\\\"input_tokens\\\":9}}\"}}\n\n"),
			want:    Tokens{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(c.dialect, "")
			for rest := c.stream; len(rest) > 0; {
				n := min(len(rest), 4096)
				r.Write(rest[:n]) //nolint:errcheck // it never fails
				rest = rest[n:]
			}
			r.Close()
			got := r.Report()
			var tokens Tokens
			for _, i := range got.Items {
				tokens = tokens.Plus(i.Tokens)
			}
			if tokens != c.want || got.Unread != c.unread {
				t.Errorf("%s\nwant %v and %d unread, got %+v", c.reason, c.want, c.unread, got)
			}
			if name == "LastEventFails" && !got.Failed {
				t.Error("it didn't fail")
			}
			if n := cap(r.frames.events.buf) + cap(r.frames.events.data) + cap(r.latest) + cap(r.frames.json.buf); n > 4*keepBuffer {
				t.Errorf("%d bytes are kept", n)
			}
		})
	}
}
