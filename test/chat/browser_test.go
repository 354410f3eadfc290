package chat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"whisperops.io/functions/internal/chatfrontend/chattest"
	"whisperops.io/functions/test/chat/world"
)

// A tab is one page of a browser.
type tab struct {
	t    *testing.T
	ctx  context.Context //nolint:containedctx // chromedp's handle of the page
	said *complaints
}

// complaints are what the browser has to say against the page: scripts that fail,
// and what the Content-Security-Policy forbids.
type complaints struct {
	mu  sync.Mutex
	all []string
}

func (c *complaints) hear(ev any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		c.all = append(c.all, fmt.Sprint(e.ExceptionDetails))
	case *log.EventEntryAdded:
		// The statuses 402 and 503 are meant; the browser logs each.
		if e.Entry.Source != log.EntrySourceNetwork {
			c.all = append(c.all, e.Entry.Text)
		}
	}
}

// clean fails if the browser had anything to say against the page.
func (p tab) clean() {
	p.t.Helper()
	p.said.mu.Lock()
	defer p.said.mu.Unlock()
	for _, c := range p.said.all {
		p.t.Errorf("the browser complains: %s", c)
	}
}

func newTab(ctx context.Context, t *testing.T) tab {
	t.Helper()
	p := tab{t, ctx, &complaints{}}
	if err := chromedp.Listen(ctx, p.said.hear); err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.EmulateViewport(1280, 860))
	// Each page is the one that somebody looks at, however many there are.
	if _, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestMain starts one Chromium for all tests; each gets a profile of its own in it.
func TestMain(m *testing.M) {
	if os.Getenv("CHAT_FRONTEND") == "" {
		os.Exit(m.Run()) // all are skipped
	}
	dir, err := os.MkdirTemp("", "chat-browser-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	flags := []chromedp.ExecAllocatorOption{
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.ExecPath(chromium()), chromedp.UserDataDir(dir), chromedp.WindowSize(1280, 860), chromedp.WSURLReadTimeout(time.Minute),
	}
	for _, f := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars"} {
		flags = append(flags, chromedp.Flag(f, true))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), flags...)
	var closeBrowser context.CancelFunc
	shared, closeBrowser = chromedp.NewContext(allocator) //nolint:fatcontext // one browser for all tests
	if err = chromedp.Do(shared); err != nil {
		fmt.Fprintln(os.Stderr, "cannot start Chromium:", err)
		os.Exit(1)
	}
	code := m.Run()
	closeBrowser()
	stop()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

var shared context.Context // chromedp's handle of the browser

// browser is a person's: a tab in a profile of its own, of the size of a laptop.
func browser(t *testing.T) tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(shared, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 8*time.Minute)
	t.Cleanup(cancel)
	return newTab(ctx, t)
}

func chromium() string {
	if p := os.Getenv("CHROMIUM"); p != "" {
		return p
	}
	return "/usr/bin/chromium"
}

// another opens one more tab of the same person's.
func (p tab) another() tab {
	ctx, cancel := chromedp.NewContext(p.ctx, chromedp.WithExistingBrowserContext(chromedp.FromContext(p.ctx).BrowserContextID))
	p.t.Cleanup(cancel)
	return newTab(ctx, p.t)
}

func (p tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.shoot("failed-" + p.t.Name())
		p.t.Fatal(err)
	}
}

// until waits for a JavaScript expression to become true.
func (p tab) until(expression string) {
	p.t.Helper()
	if _, err := chromedp.Run(p.ctx, chromedp.Poll[bool]("(() => { try { return Boolean("+expression+"); } catch { return false; } })()", chromedp.WithPollingTimeout(2*time.Minute))); err != nil {
		p.shoot("failed-" + p.t.Name())
		p.t.Fatalf("%s: %v", expression, err)
	}
}

func get[T any](p tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// js runs a statement.
func (p tab) js(statement string) {
	p.t.Helper()
	get[any](p, statement+"; null")
}

func (p tab) text(selector string) string {
	p.t.Helper()
	return get[string](p, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

func (p tab) open(url string) {
	p.t.Helper()
	p.do(chromedp.Navigate(url))
	p.until(`document.readyState === "complete"`)
}

// ask types a question and sends it with the keyboard.
func (p tab) ask(q string) {
	p.t.Helper()
	p.do(chromedp.SendKeys(chromedp.CSS("#question"), q))
	p.until(`!document.getElementById("send").disabled`)
	p.do(chromedp.SendKeys(chromedp.CSS("#question"), "\r"))
}

const last = "article:last-of-type"

// answered waits until the last answer has ended.
func (p tab) answered() {
	p.t.Helper()
	p.until(`(() => { const a = document.querySelector("` + last + ` .actions"); return Boolean(a) && !a.hidden; })()`)
}

// shoot keeps a picture of what a person sees, where CHAT_SCREENSHOTS names a folder.
func (p tab) shoot(name string) {
	p.t.Helper()
	dir := os.Getenv("CHAT_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, filepath.Base(name)+".png"), png, 0o644)
	}
	if err != nil {
		p.t.Log(err)
	}
}

// start starts a page's server for one test. Each has a world and a profile of its own, and
// mostly waits, so that they run beside each other.
func start(t *testing.T, script func(*chattest.Task), env ...string) *world.World {
	t.Helper()
	bin := os.Getenv("CHAT_FRONTEND")
	if bin == "" {
		t.Skip("CHAT_FRONTEND names no binary: run make test-chat")
	}
	t.Parallel()
	w, err := world.Start(t.Context(), bin, script, logs{}, env...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

type logs struct{}

func (logs) Write(p []byte) (int, error) {
	if testing.Verbose() {
		return os.Stderr.Write(p)
	}
	return len(p), nil
}
