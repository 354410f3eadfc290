package chat

import (
	"strings"
	"testing"
	"time"

	"whisperops.io/functions/test/chat/world"
)

const question = "How do house prices depend on the distance to the sea?"

func TestAsk(t *testing.T) {
	w := start(t, world.Story(2*time.Millisecond))
	p := browser(t)
	p.open(w.URL)
	p.until(`!document.getElementById("money").hidden`)
	p.shoot("hello")
	p.ask(question)
	p.answered()
	p.shoot("answer")
	if got := p.text(last + " .answer > .prose"); !strings.Contains(got, "$380,440") {
		t.Errorf("answer: %s", got)
	}
}
