// Package markdown turns what a model wrote into HTML that can't hurt.
//
// Everything in an answer may have been put there by somebody else: a cell of the
// dataset, a column's name. So raw HTML is shown as the text it is, links lead only
// to web addresses, and a picture is shown only if the caller knows it: an address
// that the browser would load by itself is a way to carry data out.
package markdown

import (
	"bytes"
	"net/url"
	"regexp"
	"strings"

	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// A Pictures function says under which path of this server the picture at an
// address is to be had, or false where it must not be shown.
type Pictures func(address, alt string) (path string, ok bool)

// PicturePath is the form of every path that a Pictures function returns; no other
// picture survives.
var PicturePath = regexp.MustCompile(`^/api/conversations/[A-Za-z0-9_-]{16,64}/pictures/[A-Za-z0-9_-]{1,64}$`)

// maxNesting bounds quotes in quotes and lists in lists: more of them than a person
// ever wrote cost quadratic time.
const maxNesting = 10

var (
	engine = goldmark.New(
		goldmark.WithExtensions(
			extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute)),
			extension.Strikethrough,
			extension.NewLinkify(extension.WithLinkifyAllowedProtocols([]string{"http:", "https:"})),
			extension.TaskList,
		),
		goldmark.WithRendererOptions(
			html.WithHardWraps(),
			renderer.WithNodeRenderers(util.Prioritized(plainHTML{}, 1)),
		),
	)
	policy = newPolicy()
)

func newPolicy() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("p", "br", "hr", "h3", "h4", "h5", "h6", "strong", "em", "del", "code", "pre", "blockquote",
		"ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td")
	p.AllowAttrs("start").Matching(bluemonday.Integer).OnElements("ol")
	p.AllowAttrs("align").Matching(regexp.MustCompile(`^(left|right|center)$`)).OnElements("th", "td")
	p.AllowAttrs("class").Matching(regexp.MustCompile(`^language-[a-zA-Z0-9+#-]{1,20}$`)).OnElements("code")
	p.AllowAttrs("href").OnElements("a")
	p.AllowAttrs("title").Matching(bluemonday.Paragraph).OnElements("a")
	p.AllowURLSchemes("http", "https", "mailto")
	p.AllowRelativeURLs(true)
	p.AllowAttrs("src").Matching(PicturePath).OnElements("img")
	p.AllowAttrs("alt").OnElements("img")
	p.RequireNoFollowOnLinks(true)
	p.RequireNoReferrerOnLinks(true)
	p.AddTargetBlankToFullyQualifiedLinks(true)
	return p
}

// Blocks renders Markdown (CommonMark with tables, strikethrough, task lists and
// bare links), one string of HTML for each block at the top level, so that a
// reader of a growing answer need only be sent the last ones again. The HTML has no
// style, no script, and headings from h3 on: the page has h1 and h2.
func Blocks(source string, pictures Pictures) []string {
	src := []byte(calm(flatten(strings.ToValidUTF8(source, "\uFFFD"))))
	doc := engine.Parser().Parse(text.NewReader(src), parser.WithContext(parser.NewContext()))
	prepare(doc, src, pictures)
	blocks := []string{}
	for n := doc.FirstChild(); n != nil; n = n.NextSibling() {
		var buf bytes.Buffer
		if err := engine.Renderer().Render(&buf, src, n); err != nil {
			// A writer in memory does not fail, and a node that can't be rendered is
			// shown as it was written.
			buf.Reset()
			buf.WriteString("<p>" + string(util.EscapeHTML(lines(n, src))) + "</p>")
		}
		if out := strings.TrimSpace(policy.Sanitize(buf.String())); out != "" {
			blocks = append(blocks, out)
		}
	}
	return blocks
}

// flatten takes markers of quotes and lists off lines that nest deeper than
// maxNesting.
func flatten(s string) string {
	if !deep.MatchString(s) {
		return s
	}
	return deep.ReplaceAllStringFunc(s, func(m string) string {
		kept := 0
		for i, r := range m {
			if strings.ContainsRune(">-*+", r) {
				kept++
			}
			if kept > maxNesting {
				return m[:i]
			}
		}
		return m
	})
}

var deep = regexp.MustCompile(`(?m)^(?:[ \t]*(?:>|[-*+][ \t])){11,}`)

// calm takes the look of a table off one that would have more than maxCells: a row is
// filled up to as many cells as the head has, so a short text makes a huge page.
func calm(s string) string {
	if !strings.Contains(s, "|") {
		return s
	}
	lines := strings.SplitAfter(s, "\n")
	for i, line := range lines {
		if !delimiter.MatchString(line) {
			continue
		}
		rows := 1
		for i+rows < len(lines) && strings.TrimSpace(lines[i+rows]) != "" {
			rows++
		}
		if strings.Count(line, "|")*rows > maxCells {
			at := strings.IndexAny(line, "|:-")
			lines[i] = line[:at] + "\\" + line[at:]
		}
	}
	return strings.Join(lines, "")
}

// maxCells is more than anybody reads in a chat.
const maxCells = 20_000

var delimiter = regexp.MustCompile(`^[ \t>*+-]*[|:-][-:| \t]*\|[-:| \t]*\r?\n?$`)

// prepare lowers headings, and puts the server's own pictures in the place of
// those that a model wrote.
func prepare(doc ast.Node, src []byte, pictures Pictures) {
	var images []*ast.Image
	var links []ast.Node
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			n.Level = min(n.Level+2, 6)
		case *ast.Image:
			images = append(images, n)
		case *ast.Link, *ast.AutoLink:
			links = append(links, n)
		}
		return ast.WalkContinue, nil
	})
	for _, n := range links {
		link(n, src, pictures)
	}
	for _, n := range images {
		image(n, src, pictures)
	}
}

func image(n *ast.Image, src []byte, pictures Pictures) {
	alt := strings.TrimSpace(string(inner(n, src)))
	if pictures != nil {
		if path, ok := pictures(string(n.Destination), alt); ok {
			n.Destination, n.Title = []byte(path), nil
			return
		}
	}
	said := "[picture not shown: it is not this agent's]"
	if alt != "" {
		said = "[picture not shown: " + alt + "]"
	}
	if p := n.Parent(); p != nil {
		p.ReplaceChild(p, n, ast.NewString([]byte(said)))
	}
}

// link shows a link to one of the agent's charts as the chart. The worker is told to
// write an image, and models forget the exclamation mark. Other links stay, if they
// lead into the web.
func link(n ast.Node, src []byte, pictures Pictures) {
	var address, label []byte
	switch l := n.(type) {
	case *ast.Link:
		address, label = l.Destination, inner(l, src)
	case *ast.AutoLink:
		address, label = l.URL(src), []byte("Chart")
	}
	if p := n.Parent(); p != nil && pictures != nil && p.Kind() != ast.KindImage {
		if path, ok := pictures(string(address), string(label)); ok {
			l := ast.NewLink()
			l.Destination = []byte(path)
			img := ast.NewImage(l)
			img.AppendChild(img, ast.NewString(label))
			p.ReplaceChild(p, n, img)
			return
		}
	}
	if l, ok := n.(*ast.Link); ok {
		u, err := url.Parse(string(l.Destination))
		if err != nil || (u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "mailto") {
			l.Destination = nil // a path would lead into this server
		}
	}
}

// inner is the text inside a node.
func inner(n ast.Node, src []byte) []byte {
	var out []byte
	_ = ast.Walk(n, func(c ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			switch t := c.(type) {
			case *ast.Text:
				out = append(out, t.Segment.Value(src)...)
			case *ast.String:
				out = append(out, t.Value...)
			}
		}
		return ast.WalkContinue, nil
	})
	return out
}

// lines is a block as it was written.
func lines(n ast.Node, src []byte) []byte {
	var out []byte
	if n.Type() != ast.TypeInline {
		for i := range n.Lines().Len() {
			s := n.Lines().At(i)
			out = append(out, s.Value(src)...)
		}
	}
	return out
}

// plainHTML shows raw HTML as text, and a task list's boxes as characters.
type plainHTML struct{}

func (plainHTML) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(ast.KindHTMLBlock, func(w util.BufWriter, src []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		b, ok := n.(*ast.HTMLBlock)
		if !ok || !entering {
			return ast.WalkContinue, nil
		}
		raw := lines(b, src)
		if b.HasClosure() {
			raw = append(raw, b.ClosureLine.Value(src)...)
		}
		_, _ = w.WriteString("<p>")
		_, _ = w.Write(util.EscapeHTML(bytes.TrimSpace(raw)))
		_, _ = w.WriteString("</p>\n")
		return ast.WalkSkipChildren, nil
	})
	r.Register(ast.KindRawHTML, func(w util.BufWriter, src []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		if h, ok := n.(*ast.RawHTML); ok && entering {
			for i := range h.Segments.Len() {
				s := h.Segments.At(i)
				_, _ = w.Write(util.EscapeHTML(s.Value(src)))
			}
		}
		return ast.WalkSkipChildren, nil
	})
	r.Register(extast.KindTaskCheckBox, func(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		if c, ok := n.(*extast.TaskCheckBox); ok && entering {
			mark := "\u2610 "
			if c.IsChecked {
				mark = "\u2611 "
			}
			_, _ = w.WriteString(mark)
		}
		return ast.WalkContinue, nil
	})
}
