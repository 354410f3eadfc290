package tokenmeter

import (
	"context"
	"errors"
	"sync"
	"time"

	"whisperops.io/functions/internal/tokenmeter/usage"
)

// A call is one attempt at a provider. It is counted once, whichever way it ends.
type call struct {
	meter   *Meter
	id      uint64
	route   route
	asked   string // the model asked for; empty if the request doesn't say
	began   time.Time
	context context.Context //nolint:containedctx // of the provider's side; it outlives the caller's
	cancel  context.CancelCauseFunc
	hold    *hold // of a hard cap; nil if there is none
	sends   *kept // the request's body; nil: it passes through

	reader *usage.Reader // nil: an answer that isn't counted
	packed bool          // another goroutine writes to the reader
	opened openCall      // as the journal has it
	noted  time.Time     // when the journal was last told what is known; zero: it wasn't
	known  uint64        // tokens that it was told of

	mu      sync.Mutex
	left    bool // the caller
	slot    bool // it is being drained
	timer   *time.Timer
	early   bool // counted before its end
	counted []counted
	cost    USD // of what was counted
	unread  bool
	done    bool
}

// counted is what is already in the counters of one item of a call.
type counted struct {
	key    Key
	tokens usage.Tokens
}

// firstByte was read.
func (c *call) firstByte() {
	c.meter.metrics.firstByte.WithLabelValues(string(c.route.dialect)).Observe(time.Since(c.began).Seconds())
}

// progress counts an answer as soon as its last figures are known: a caller that
// has what it wants leaves before the end. Until then the journal is told now and
// then what is known, in case this process dies.
func (c *call) progress() {
	// A packed answer is read by a goroutine of its own, and counted at its end.
	if c.reader == nil || c.packed || c.early {
		return
	}
	if c.reader.Final() {
		c.early = true
		c.meter.add(c, c.news(c.reader.Report(), outcomeComplete))
		return
	}
	now := c.meter.now()
	since, wait := c.noted, c.meter.limits.NoteTime
	if c.noted.IsZero() {
		since, wait = c.began, min(wait, firstNote)
	}
	if now.Sub(since) >= wait {
		c.noted = now
		c.note()
	}
}

// firstNote is how old a call is when the journal is first told of its figures: what
// models stream is, by its first event, which mostly has those of the input. Calls that
// are over sooner don't need it.
const firstNote = 100 * time.Millisecond

// note tells the journal what an answer has cost so far; it isn't waited for.
func (c *call) note() {
	r := c.reader.Report()
	o := c.opened
	var sum uint64
	for _, item := range r.Items {
		if n := item.Tokens.Sum(); n > 0 {
			sum += n
			o.Known = append(o.Known, Entry{Key: c.meter.key(c, item, r.Tier, outcomeEstimated), Tokens: item.Tokens})
		}
	}
	if sum == c.known {
		return
	}
	c.known, o.Cost = sum, c.meter.cost(o.Known)
	if err := c.meter.journal.Open(c.id, o, false); err != nil {
		c.meter.written(c, err)
	}
}

// leave says that the caller has gone. The answer is read on, within bounds.
func (c *call) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left || c.done {
		return
	}
	c.left = true
	if !c.meter.drains.enter() {
		c.cutLocked("calls")
		return
	}
	c.slot = true
	c.meter.metrics.drains.Inc()
	c.timer = time.AfterFunc(c.meter.drains.timeout, func() { c.cut("time") })
}

// cut ends the reading of an answer that nobody waits for.
func (c *call) cut(bound string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutLocked(bound)
}

func (c *call) cutLocked(bound string) {
	if !c.done {
		c.meter.metrics.cutOff.WithLabelValues(bound).Inc()
		c.cancel(errLeft)
	}
}

// unreadable says that the answer's bytes could not be decoded.
func (c *call) unreadable() {
	c.mu.Lock()
	c.unread = true
	c.mu.Unlock()
	c.meter.metrics.unread.WithLabelValues(string(c.route.dialect)).Inc()
}

// finish is done once. It says whether the caller had left, and whether the answer
// could not be decoded.
func (c *call) finish() (left, unread, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return false, false, false
	}
	c.done = true
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.slot {
		c.meter.drains.exit()
		c.meter.metrics.drains.Dec()
	}
	return c.left, c.unread, true
}

// end counts what the answer said. Err is why it ended, nil for its proper end.
func (c *call) end(err error, status int) {
	left, unread, first := c.finish()
	if !first {
		return
	}
	defer c.cancel(nil)
	defer c.meter.metrics.open.Dec()
	if c.reader == nil {
		c.meter.settle(c, nil, plainOutcome(err, status), status, nil)
		return
	}
	c.reader.Close()
	r := c.reader.Report()
	outcome := outcomeOf(r, err, status, left, errors.Is(context.Cause(c.context), errLeft))
	c.meter.settle(c, &r, outcome, status, c.news(r, outcome))

	m := c.meter.metrics
	agent := []string{c.route.agent, namespaceOf(c.route.agent)}
	if r.Mismatch > 0 {
		m.mismatch.WithLabelValues(append(agent, string(c.route.dialect))...).Add(float64(r.Mismatch))
	}
	if r.Unread > 0 {
		m.unread.WithLabelValues(string(c.route.dialect)).Add(float64(r.Unread))
	}
	if reason := uncounted(r, outcome, status, unread); reason != "" {
		m.uncounted.WithLabelValues(append(agent, reason)...).Inc()
	}
}

// outcomeOf names how a call ended: whether the caller had left, and whether the
// meter then cut the answer off. Figures that are final make it complete, whatever
// the connection did afterwards.
func outcomeOf(r usage.Report, err error, status int, left, cut bool) string {
	switch {
	case r.Failed || status >= 400:
		return outcomeError
	case left && cut && !r.Final:
		return outcomeEstimated
	case left && (r.Final || err == nil && r.Complete):
		return outcomeAborted
	case r.Final:
		return outcomeComplete
	case err != nil || !r.Complete:
		return outcomeReset
	}
	return outcomeComplete
}

// uncounted says why tokens of a call may be missing, empty if none are.
func uncounted(r usage.Report, outcome string, status int, unread bool) string {
	switch {
	case r.Final:
		return ""
	case status >= 400 && !r.Seen:
		return "" // a refusal of the provider's costs nothing
	case unread:
		return "encoding"
	case outcome == outcomeEstimated:
		return "left"
	case outcome == outcomeReset:
		return "reset"
	case r.Unread > 0:
		return "unreadable"
	case outcome == outcomeError:
		return "error"
	case !r.Seen:
		return "no_usage"
	}
	return "incomplete"
}

// plainOutcome is that of a call that costs nothing, or that nobody can count.
func plainOutcome(err error, status int) string {
	switch {
	case status >= 400:
		return outcomeError
	case err != nil:
		return outcomeReset
	}
	return outcomeComplete
}

// news is what a report has more than was counted.
func (c *call) news(r usage.Report, outcome string) []Entry {
	var entries []Entry
	for i, item := range r.Items {
		if i >= len(c.counted) {
			c.counted = append(c.counted, counted{key: c.meter.key(c, item, r.Tier, outcome)})
		}
		done := &c.counted[i]
		if more := item.Tokens.Minus(done.tokens); more.Sum() > 0 {
			entries = append(entries, Entry{Key: done.key, Tokens: more})
			done.tokens = done.tokens.Plus(more)
		}
	}
	return entries
}
