package chat

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"whisperops.io/functions/internal/chatfrontend/chattest"
	"whisperops.io/functions/test/chat/world"
)

const question = "How do house prices depend on the distance to the sea?"

// pace of stories whose middle is looked at, and of others.
const (
	slow = 40 * time.Millisecond
	fast = 2 * time.Millisecond
)

func TestAsk(t *testing.T) {
	w := start(t, world.Story(slow))
	p := browser(t)
	p.open(w.URL)
	p.until(`!document.getElementById("money").hidden`)
	p.shoot("hello")
	if got := p.text("#money"); !strings.Contains(got, "$3.75 left of $5.00") || !strings.Contains(got, "$1.25 spent this month") {
		t.Errorf("money: %q", got)
	}
	// It streams: there is text before the end, a word on what is being done, and a button to
	// stop it. The page itself keeps what passed, however fast.
	p.js(`window.doing = new Set(); window.streamed = false; new MutationObserver(() => {
		const a = document.querySelector("article");
		if (!a) return;
		doing.add(a.querySelector(".doing")?.textContent);
		streamed ||= !document.getElementById("stop").hidden && a.querySelector(".answer > .prose")?.innerText.length > 20;
	}).observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true})`)
	p.ask(question)
	p.until(`doing.has("Asking the analyst")`)
	p.until(`streamed`)
	p.shoot("streaming")
	p.answered()
	p.until(`document.querySelector("article .prose img").naturalWidth > 0`)
	p.shoot("answer")
	prose := p.text(last + " .answer > .prose")
	if !strings.Contains(prose, "$380,440") || strings.Count(prose, "Districts on") != 1 {
		t.Errorf("answer: %s", prose)
	}
	if n := get[int](p, `document.querySelectorAll("article .answer > .prose .table .num").length`); n != 12 {
		t.Errorf("%d cells are set as figures, want 12", n)
	}
	// The code that was run is behind a fold.
	if strings.Contains(p.text(last+" .steps"), "read_csv") {
		t.Error("the code is in the way")
	}
	p.do(chromedp.Click(chromedp.CSS(last + " .step:last-of-type summary")))
	if got := p.text(last + " .steps"); !strings.Contains(got, "pd.read_csv") || !strings.Contains(got, "Code that was run") {
		t.Errorf("steps: %s", got)
	}
	p.js(`document.getElementById("scroll").scrollTop = 0`)
	p.shoot("code")
	// The conversation is in the list, and is there after a reload.
	if got := p.text("#list"); !strings.Contains(got, "How do house prices") {
		t.Errorf("list: %s", got)
	}
	p.do(chromedp.Reload())
	p.answered()
	if got := p.text(last + " .answer > .prose"); got != prose {
		t.Errorf("after a reload: %s", got)
	}
	p.clean()
}

func TestStop(t *testing.T) {
	w := start(t, world.Story(fast))
	p := browser(t)
	p.open(w.URL)
	p.ask("Count forever")
	p.until(`document.querySelector("article .answer > .prose").innerText.includes("and on")`)
	p.do(chromedp.SendKeys(chromedp.CSS("#question"), "My next question")) // one can type meanwhile
	p.do(chromedp.Click(chromedp.CSS("#stop")))
	p.answered()
	p.shoot("stopped")
	if got := p.text(last + " .notice"); got != "Stopped." {
		t.Errorf("notice: %q", got)
	}
	select {
	case <-w.Planner.Task(0).Canceled:
	case <-time.After(10 * time.Second):
		t.Error("the agent was not told")
	}
	if got := get[string](p, `document.getElementById("question").value`); got != "My next question" {
		t.Errorf("what was typed is lost: %q", got)
	}
	// Escape stops, too, and "ask again" asks again.
	p.do(chromedp.Click(chromedp.CSS(last + " .retry")))
	p.until(`document.querySelectorAll("article").length === 2 && !document.getElementById("stop").hidden`)
	p.do(chromedp.KeyEvent("\x1b"))
	p.answered()
	if m := w.Planner.Messages(); len(m) != 2 || m[1].Text != "Count forever" {
		t.Errorf("the planner got %+v", m)
	}
	p.clean()
}

func TestBudgetGoneAndBack(t *testing.T) {
	w := start(t, world.Story(fast), "BUDGET_CONTACT=Ada Lovelace of the platform team, in #data-agents.")
	p := browser(t)
	p.open(w.URL)
	p.ask("hello")
	p.answered()
	w.Kube.Exhaust()
	p.do(chromedp.SendKeys(chromedp.CSS("#question"), question), chromedp.Click(chromedp.CSS("#send")))
	p.until(`!document.getElementById("closed").hidden`)
	p.shoot("402")
	closed := p.text("#closed")
	for _, want := range []string{"The agent’s budget is used up", "$5.02 of $5.00 this month", "when the next month begins", "Ada Lovelace of the platform team"} {
		if !strings.Contains(strings.ReplaceAll(closed, "'", "’"), want) {
			t.Errorf("the panel lacks %q: %s", want, closed)
		}
	}
	if got := get[string](p, `document.getElementById("question").value`); got != question {
		t.Errorf("what was typed is lost: %q", got)
	}
	if len(w.Planner.Messages()) != 1 {
		t.Error("the question reached the planner")
	}
	// A new page says so, too, with its status.
	p.js(`fetch("/").then((r) => { window.status402 = r.status; })`)
	p.until(`window.status402 === 402`)
	w.Kube.Raise(10)
	p.do(chromedp.Click(chromedp.CSS("#again")))
	p.until(`document.getElementById("closed").hidden && !document.getElementById("send").disabled`)
	p.do(chromedp.Click(chromedp.CSS("#send")))
	p.until(`document.querySelectorAll("article").length === 2`)
	p.answered()
	if got := p.text(last + " .answer > .prose"); !strings.Contains(got, "$380,440") {
		t.Errorf("after the raise: %s", got)
	}
	p.clean()
}

func TestBudgetGoneWhileItAnswers(t *testing.T) {
	next := make(chan struct{})
	w := start(t, func(t *chattest.Task) {
		t.Partial("On average, a house costs ")
		<-next
		t.Fail("LLM error: 402 the budget of housing-bot is used up")
	})
	p := browser(t)
	p.open(w.URL)
	p.ask(question)
	p.until(`document.querySelector("article .answer > .prose").innerText.includes("costs")`)
	w.Kube.Exhaust()
	close(next)
	p.answered()
	p.shoot("402-in-a-stream")
	if got := p.text(last + " .problem"); !strings.Contains(got, "budget was used up while it answered") {
		t.Errorf("problem: %s", got)
	}
	p.until(`!document.getElementById("closed").hidden`)
	p.clean()
}

func TestDown(t *testing.T) {
	w := start(t, world.Story(fast))
	p := browser(t)
	w.Kube.Answer(503)
	p.open(w.URL)
	p.until(`!document.getElementById("closed").hidden`)
	p.shoot("503")
	if got := p.text("#closed"); !strings.Contains(got, "can’t be read") && !strings.Contains(got, "can't be read") || strings.Contains(got, "Spent") {
		t.Errorf("panel: %s", got)
	}
	w.Kube.Answer(0)
	p.do(chromedp.Click(chromedp.CSS("#again")))
	p.until(`document.getElementById("closed").hidden`)
	w.Planner.Refuse("message/stream", -32603)
	p.ask("hello")
	p.answered()
	p.shoot("planner-fails")
	if got := p.text(last + " .problem"); !strings.Contains(got, "could not be read") {
		t.Errorf("problem: %s", got)
	}
	w.Planner.Close()
	p.ask(question)
	p.until(`!document.getElementById("closed").hidden`)
	p.shoot("503-planner")
	if got := p.text("#closed"); !strings.Contains(got, "Nothing listens") || strings.Contains(got, "budget") {
		t.Errorf("panel: %s", got)
	}
	p.clean()
}

// The page's connection breaks in the middle of an answer, twice: once the network, once
// the page's server itself.
func TestReconnect(t *testing.T) {
	w := start(t, world.Story(slow))
	p := browser(t)
	p.open(w.URL)
	p.ask(question)
	p.until(`document.querySelector("article .answer > .prose").innerText.length > 20`)
	w.Wire.Cut()
	p.until(`document.querySelector("article .doing").textContent.includes("Connection lost")`)
	p.shoot("reconnecting")
	w.Wire.Mend()
	p.answered()
	if got := p.text(last + " .answer > .prose"); strings.Count(got, "Districts on") != 1 || !strings.Contains(got, "incomes differ") {
		t.Errorf("answer: %s", got)
	}
	p.ask("Count forever")
	p.until(`document.querySelector("` + last + ` .answer > .prose").innerText.includes("and on")`)
	w.Kill()
	p.until(`document.querySelector("` + last + ` .doing").textContent.includes("Connection lost")`)
	if err := w.Run(t.Context(), logs{}); err != nil {
		t.Fatal(err)
	}
	p.answered()
	p.shoot("server-restarted")
	if got := p.text(last + " .problem"); !strings.Contains(got, "restarted") {
		t.Errorf("problem: %s", got)
	}
}

// The agent's own stream breaks: nobody at the page notices.
func TestPlannerStreamBreaks(t *testing.T) {
	w := start(t, world.Story(slow))
	p := browser(t)
	p.open(w.URL)
	p.ask(question)
	p.until(`document.querySelector("article .answer > .prose").innerText.length > 20`)
	w.Planner.Task(0).Break()
	p.answered()
	if got := p.text(last + " .answer > .prose"); strings.Count(got, "Districts on") != 1 || !strings.Contains(got, "incomes differ") {
		t.Errorf("answer: %s", got)
	}
	p.clean()
}

func TestTwoTabs(t *testing.T) {
	w := start(t, world.Story(fast))
	a := browser(t)
	a.open(w.URL)
	b := a.another()
	b.open(w.URL)
	a.ask("hello")
	b.ask(question)
	a.answered()
	b.answered()
	if got := a.text(last + " .answer > .prose"); !strings.Contains(got, "Hello!") || strings.Contains(got, "380,440") {
		t.Errorf("the first tab: %s", got)
	}
	if got := b.text(last + " .answer > .prose"); strings.Contains(got, "Hello!") || !strings.Contains(got, "380,440") {
		t.Errorf("the second tab: %s", got)
	}
	m := w.Planner.Messages()
	if len(m) != 2 || m[0].User == m[1].User || m[0].ContextID == m[1].ContextID {
		t.Errorf("the planner got %+v", m)
	}
	// One tab looks at the other's conversation, and both see the next answer.
	b.open(get[string](a, "location.href"))
	b.answered()
	a.ask("hello again")
	b.js(`document.dispatchEvent(new Event("visibilitychange"))`)
	b.until(`document.querySelectorAll("article").length === 2`)
	b.answered()
	// Another person sees nothing of it.
	c := browser(t)
	c.open(get[string](a, "location.href"))
	c.until(`document.querySelector("#log .notice") !== null`)
	if got := c.text("body"); strings.Contains(got, "Hello!") || c.text("#list") != "" {
		t.Errorf("another person sees: %s", got)
	}
	a.clean()
	b.clean()
}

func TestAgentAsks(t *testing.T) {
	w := start(t, world.Story(fast))
	p := browser(t)
	p.open(w.URL)
	p.ask("What is a typical price?")
	p.until(`!document.querySelector("article .asks").hidden`)
	p.shoot("asks")
	if got := p.text("article .asks"); !strings.Contains(got, "Which figure do you mean by a typical price?") {
		t.Errorf("asks: %s", got)
	}
	// With the keyboard alone: the first choice has the focus.
	p.until(`document.activeElement.type === "radio"`)
	p.do(chromedp.KeyEvent(" "))
	p.do(chromedp.SendKeys(chromedp.CSS("article .asks fieldset:nth-of-type(2) input[type=text]"), "Only the capped ones\r"))
	p.answered()
	p.shoot("answered")
	if got := p.text(last + " .answer > .prose"); !strings.Contains(got, "$179,700") {
		t.Errorf("answer: %s", got)
	}
	m := w.Planner.Messages()
	if len(m) != 2 || fmt.Sprint(m[1].Data["ask_user_answers"]) != "[map[answer:[The median]] map[answer:[Only the capped ones]]]" {
		t.Errorf("the planner got %+v", m)
	}
	p.clean()
}

// What somebody wrote into the dataset runs nothing, and loads nothing.
func TestInjection(t *testing.T) {
	var hits atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer evil.Close()
	w := start(t, func(t *chattest.Task) {
		t.Answer(fmt.Sprintf("<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\n\n![x](%[1]s/a.png?secret) [click](javascript:document.title='owned') ![y][r]\n\n<iframe src=%[1]s></iframe>\n\n[r]: %[1]s/b.png\n", evil.URL))
	})
	p := browser(t)
	p.open(w.URL)
	p.ask(question)
	p.answered()
	p.shoot("injection")
	if got := get[string](p, "document.title"); strings.Contains(got, "owned") {
		t.Errorf("title: %s", got)
	}
	if n := get[int](p, `document.querySelectorAll("article img, article script, article iframe, article a[href^=javascript]").length`); n != 0 {
		t.Errorf("%d elements that should not be there: %s", n, get[string](p, `document.querySelector("article .answer > .prose").innerHTML`))
	}
	// And were it there, the policy would not let it load.
	p.js(`window.blocked = []; addEventListener("securitypolicyviolation", (e) => blocked.push(e.effectiveDirective)); const i = new Image(); i.src = "` + evil.URL + `/c.png"; document.body.append(i)`)
	p.until(`blocked.includes("img-src")`)
	p.js(`try { document.body.innerHTML = "<b>x</b>" } catch { blocked.push("trusted-types") }`)
	p.until(`blocked.includes("trusted-types")`)
	if n := hits.Load(); n != 0 {
		t.Errorf("the other site was asked %d times", n)
	}
}

func (p tab) dark() {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}); err != nil {
		p.t.Fatal(err)
	}
}

func TestDark(t *testing.T) {
	w := start(t, world.Story(fast))
	p := browser(t)
	p.dark()
	p.open(w.URL)
	p.shoot("dark-hello")
	p.ask(question)
	p.answered()
	p.js(`document.querySelector(".step:last-of-type").open = true; document.getElementById("scroll").scrollTop = 0`)
	p.shoot("dark")
	if got := get[string](p, `getComputedStyle(document.body).backgroundColor`); got != "rgb(21, 22, 20)" {
		t.Errorf("background: %s", got)
	}
	w.Kube.Exhaust()
	p.js(`document.dispatchEvent(new Event("visibilitychange"))`)
	p.until(`!document.getElementById("closed").hidden`)
	p.shoot("dark-402")
	p.clean()
}

func TestPhone(t *testing.T) {
	w := start(t, world.Story(fast))
	p := browser(t)
	p.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2)))
	p.open(w.URL)
	p.until(`!document.getElementById("money").hidden`)
	p.shoot("phone-hello")
	p.do(chromedp.SendKeys(chromedp.CSS("#question"), question))
	p.do(chromedp.Click(chromedp.CSS("#send")))
	p.answered()
	p.until(`document.querySelector("article .prose img").naturalWidth > 0`)
	p.shoot("phone-answer")
	p.js(`document.getElementById("scroll").scrollTop = 0`)
	p.shoot("phone-top")
	// Only the table scrolls sideways, never the page.
	if got := get[int](p, `Math.max(document.documentElement.scrollWidth, document.getElementById("scroll").scrollWidth, ...[...document.querySelectorAll(".step, .block")].map((e) => e.getBoundingClientRect().right))`); got > 390 {
		t.Errorf("the page is %d wide", got)
	}
	p.do(chromedp.Click(chromedp.CSS("#menu")))
	p.until(`document.getElementById("side").getBoundingClientRect().left === 0`)
	p.shoot("phone-menu")
	p.do(chromedp.KeyEvent("\x1b"))
	p.until(`document.getElementById("side").getBoundingClientRect().right <= 0 && document.activeElement.id === "menu"`)
	w.Kube.Exhaust()
	p.js(`document.dispatchEvent(new Event("visibilitychange"))`)
	p.until(`!document.getElementById("closed").hidden`)
	p.shoot("phone-402")
	p.clean()
}

// Everything can be reached and told without a mouse and without eyes.
func TestAccessible(t *testing.T) {
	w := start(t, world.Story(fast))
	p := browser(t)
	p.open(w.URL)
	p.ask(question)
	p.answered()
	if bad := get[[]string](p, `[...document.querySelectorAll("button, a[href], input, textarea, summary, img")].filter((e) => e.checkVisibility() && !(e.innerText || e.textContent || e.getAttribute("aria-label") || e.alt || e.labels?.length)).map((e) => e.outerHTML)`); len(bad) > 0 {
		t.Errorf("without a name: %v", bad)
	}
	p.until(`document.getElementById("status").textContent.startsWith("Answer: Districts on islands")`)
	if got := get[string](p, `document.getElementById("log").getAttribute("aria-live")`); got != "off" {
		t.Errorf("the log is read aloud piece by piece: %s", got)
	}
	if n := get[int](p, `new Set([...document.querySelectorAll("[id]")].map((e) => e.id)).size - document.querySelectorAll("[id]").length`); n != 0 {
		t.Errorf("%d ids are there twice", -n)
	}
	// From the box, Tab leads through all that can be used and back.
	seen := map[string]bool{}
	for range 40 {
		p.do(chromedp.KeyEvent("\t"))
		seen[get[string](p, `document.activeElement.id || document.activeElement.className || document.activeElement.tagName`)] = true
	}
	for _, want := range []string{"new", "question", "plain copy", "plain retry"} {
		if !seen[want] {
			t.Errorf("Tab does not reach %q: %v", want, seen)
		}
	}
	p.clean()
}

// A thousand pages that nobody uses.
func TestIdlePages(t *testing.T) {
	w := start(t, world.Story(fast))
	p := browser(t)
	p.open(w.URL)
	p.until(`!document.getElementById("money").hidden`)
	before := w.Kube.Gets()
	p.js(`performance.clearResourceTimings(); window.idleSince = performance.now()`)
	p.until(`performance.now() > window.idleSince + 5000`)
	// The browser asks for the icon when it has time.
	if asked := get[[]string](p, `performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.endsWith("/assets/icon.svg"))`); len(asked) != 0 || w.Kube.Gets() != before {
		t.Errorf("an idle page asked for %v, and the budget was read %d times", asked, w.Kube.Gets()-before)
	}
}

// The pictures of docs/images: CHAT_SCREENSHOTS=<folder> make test-chat CHAT_FLAGS='-run Pictures'.
func TestPictures(t *testing.T) {
	w := start(t, world.Story(fast))
	p := browser(t)
	p.do(chromedp.EmulateViewport(1180, 1090))
	p.open(w.URL)
	for _, q := range []string{"Which columns have missing values?", question} {
		p.ask(q)
		p.answered()
		p.js(`document.getElementById("new").click()`)
		p.until(`document.querySelectorAll("article").length === 0`)
	}
	p.ask(question)
	p.answered()
	p.until(`document.querySelector("article .prose img").naturalWidth > 0`)
	p.js(`document.activeElement.blur()`)
	// The page itself scrolls to the end of an answer, perhaps after this.
	p.until(`(document.getElementById("scroll").scrollTop = 0, document.getElementById("scroll").scrollTop === 0)`)
	p.shoot("chat")
	p.dark()
	p.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch))
	p.shoot("phone")
	w.Kube.Exhaust()
	p.js(`document.dispatchEvent(new Event("visibilitychange"))`)
	p.until(`!document.getElementById("closed").hidden && document.getElementById("money-bar").getBoundingClientRect().width > 90`)
	p.shoot("phone-exhausted")
}
