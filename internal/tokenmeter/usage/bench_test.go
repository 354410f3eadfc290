package usage

import (
	"strings"
	"testing"
)

// streams of about a megabyte, as the dialects stream a long answer.
func benchStreams() map[string]struct {
	dialect Dialect
	bytes   []byte
} {
	text := strings.Repeat("The mean of the column is 206855.8 dollars. ", 3)
	gemini := `data: {"candidates": [{"content": {"parts": [{"text": "` + text + `"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 812,"candidatesTokenCount": 31,"totalTokenCount": 912,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 812}],"thoughtsTokenCount": 69},"modelVersion": "gemini-3.8-flash","responseId": "x"}` + "\r\n\r\n"
	chat := `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1764230000,"model":"gpt-6.2-sol","service_tier":"default","choices":[{"index":0,"delta":{"content":" column"},"finish_reason":null}],"usage":null,"obfuscation":"xyz"}` + "\n\n"
	message := "event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" column"}}` + "\n\n"
	many := func(first, s string) []byte { return []byte(first + strings.Repeat(s, 1e6/len(s))) }
	return map[string]struct {
		dialect Dialect
		bytes   []byte
	}{
		"gemini":    {Gemini, many("", gemini)},
		"openai":    {OpenAI, many("", chat)},
		"anthropic": {Anthropic, many("event: message_start\n"+`data: {"type":"message_start","message":{"model":"claude-sonnet-5-5","usage":{"input_tokens":9}}}`+"\n\n", message)},
		"array":     {Gemini, many("[", strings.ReplaceAll(strings.TrimPrefix(gemini, "data: "), "\r\n\r\n", "\n,\r\n"))},
	}
}

// BenchmarkReader reads streams in the pieces that a connection brings.
func BenchmarkReader(b *testing.B) {
	for name, s := range benchStreams() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s.bytes)))
			b.ReportAllocs()
			for b.Loop() {
				r := NewReader(s.dialect, "")
				for rest := s.bytes; len(rest) > 0; {
					n := min(len(rest), 4096)
					if _, err := r.Write(rest[:n]); err != nil {
						b.Fatal(err)
					}
					rest = rest[n:]
				}
				r.Close()
				if rep := r.Report(); !strings.Contains(rep.Items[0].Model, "-") {
					b.Fatal(rep)
				}
			}
		})
	}
}
