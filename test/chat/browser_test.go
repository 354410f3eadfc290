package chat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"whisperops.io/functions/internal/chatfrontend/chattest"
	"whisperops.io/functions/test/chat/world"
)

// A tab is one page of a browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// browser starts a Chromium of its own.
func browser(t *testing.T) tab {
	t.Helper()
	flags := []chromedp.ExecAllocatorOption{
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.ExecPath(chromium()), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 860),
	}
	for _, f := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars"} {
		flags = append(flags, chromedp.Flag(f, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p := tab{t, ctx}
	p.do(chromedp.EmulateViewport(1280, 860))
	return p
}

func chromium() string {
	if p := os.Getenv("CHROMIUM"); p != "" {
		return p
	}
	return "/usr/bin/chromium"
}

// another opens one more tab in the same browser: the same person.
func (p tab) another() tab {
	ctx, cancel := chromedp.NewContext(p.ctx)
	p.t.Cleanup(cancel)
	q := tab{p.t, ctx}
	q.do(chromedp.EmulateViewport(1280, 860))
	return q
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
	if _, err := chromedp.Run(p.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(40*time.Second))); err != nil {
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

func start(t *testing.T, script func(*chattest.Task), env ...string) *world.World {
	t.Helper()
	bin := os.Getenv("CHAT_FRONTEND")
	if bin == "" {
		t.Skip("CHAT_FRONTEND names no binary: run make test-chat")
	}
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
