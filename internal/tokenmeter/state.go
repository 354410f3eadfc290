package tokenmeter

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"whisperops.io/functions/internal/pricing"
)

// State is what the meter was last told: budgets, prices, and what it spent itself
// since. It is kept in the journal, so that a meter that starts while the API
// server is away goes on as it was last right.
type State struct {
	journal *Journal

	mu      sync.RWMutex
	known   bool // of budgets, from the API server or from the journal
	budgets map[string]Budget
	prices  Prices
	priced  string // the table's text
	now     func() time.Time
	ahead   time.Duration // how long a call may take
	marks   map[string][]mark
	begun   map[string]string // the uid of an agent's last budget; it stays when that is gone
	peers   func(agent string, asOf time.Time) USD
}

// A mark is what an agent had spent by this meter's count when its counters were
// read: what came later, no one else can know yet.
type mark struct {
	At    time.Time `json:"at"`
	Spent USD       `json:"spent"`
}

// maxMarks bounds the marks of an agent: hours of scrapes.
const maxMarks = 512

// keptMarks of them survive the process.
const keptMarks = 16

const (
	stateBudgets = "budgets"
	statePrices  = "prices"
	stateMarks   = "marks"
	stateBegun   = "begun"
)

func newState(j *Journal, now func() time.Time, ahead time.Duration) *State {
	s := &State{journal: j, now: now, ahead: ahead, budgets: map[string]Budget{}, begun: map[string]string{}, marks: map[string][]mark{}}
	if b := j.Kept(stateBudgets); b != nil && json.Unmarshal(b, &s.budgets) == nil {
		s.known = true
	}
	if b := j.Kept(stateBegun); b != nil {
		json.Unmarshal(b, &s.begun) //nolint:errcheck,gosec // without it an agent whose budget is gone is one that had none
	}
	if s.begun == nil {
		s.begun = map[string]string{}
	}
	for name, b := range s.budgets {
		s.begun[name] = b.UID
	}
	if b := j.Kept(statePrices); b != nil {
		if t, err := pricing.Read(string(b)); err == nil {
			s.prices, s.priced = Prices{t, now, ahead}, string(b)
		}
	}
	if b := j.Kept(stateMarks); b != nil {
		json.Unmarshal(b, &s.marks) //nolint:errcheck,gosec // without them the first look is a little late
	}
	return s
}

// Known says whether there is any state.
func (s *State) Known() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known
}

// Budget of an agent, false if there is none.
func (s *State) Budget(agent string) (Budget, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.budgets[agent]
	return b, ok
}

// Prices as they are now.
func (s *State) Prices() Prices {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.prices
}

// agents that have budgets, sorted.
func (s *State) agents() []agent {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]agent, 0, len(s.budgets))
	for _, b := range s.budgets {
		all = append(all, agent{b.Agent, b.Namespace})
	}
	slices.SortFunc(all, func(a, b agent) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return all
}

// SetBudgets replaces all budgets.
func (s *State) SetBudgets(all []Budget) {
	m := make(map[string]Budget, len(all))
	for _, b := range all {
		m[b.Agent] = b
	}
	s.mu.Lock()
	anew := false
	for name, b := range m {
		// What an agent of this name spent before is none of a new budget's business. One
		// that was out of sight for a while is not new.
		uid, ok := s.begun[name]
		if (!ok || uid != b.UID) && s.known {
			s.marks[name] = append(s.marks[name], mark{b.Created, s.journal.Spent(name)})
		}
		anew = anew || !ok || uid != b.UID
		s.begun[name] = b.UID
	}
	s.budgets, s.known = m, true
	kept, err := json.Marshal(m)
	begun, errBegun := json.Marshal(s.begun)
	s.mu.Unlock()
	if anew && errBegun == nil { // before the budgets: one that is gone since must not look as if it had never been
		s.journal.Keep(stateBegun, begun)
	}
	if err == nil {
		s.journal.Keep(stateBudgets, kept)
	}
}

// SetPrices replaces the price table. One that can't be read changes nothing, and what it
// can't read of a model doesn't either.
func (s *State) SetPrices(text string) error {
	t, err := pricing.Read(text)
	if err != nil {
		return err
	}
	s.mu.Lock()
	first := s.prices.table == nil
	if earlier := s.prices.table; !first {
		t = t.With(earlier)
	}
	changed := s.priced != text
	s.prices, s.priced = Prices{t, s.now, s.ahead}, text
	s.mu.Unlock()
	if changed && (!t.Broken() || first) { // else the one before is the last that was good as a whole
		s.journal.Keep(statePrices, []byte(text))
	}
	return nil
}

// Scraped says that somebody read the counters at a time, and what agents had
// spent by them.
func (s *State) Scraped(at time.Time, all map[string]USD) {
	s.mu.Lock()
	kept := map[string][]mark{}
	for name := range s.budgets {
		marks := s.marks[name]
		spent := all[name]
		if len(marks) == 0 || marks[len(marks)-1].Spent != spent {
			marks = append(marks, mark{at, spent})
			s.marks[name] = marks[max(0, len(marks)-maxMarks):]
		}
		kept[name] = s.marks[name][max(0, len(s.marks[name])-keptMarks):]
	}
	b, err := json.Marshal(kept)
	s.mu.Unlock()
	if err == nil {
		s.journal.Keep(stateMarks, b)
	}
}

// own is what an agent spent by this meter's count after its budget was last
// measured.
func (s *State) own(agent string, asOf time.Time) USD {
	s.mu.RLock()
	marks := s.marks[agent]
	s.mu.RUnlock()
	return since(marks, s.journal.Spent(agent), asOf)
}

// since is what was spent after a time: all beyond the last mark up to it.
func since(marks []mark, spent USD, asOf time.Time) USD {
	var seen USD
	for _, m := range marks {
		if m.At.After(asOf) {
			continue
		}
		seen = max(seen, m.Spent)
	}
	if len(marks) == maxMarks {
		seen = max(seen, marks[0].Spent) // earlier ones are forgotten: rather too little
	}
	return max(0, spent-seen)
}

// gone says whether an agent had a budget and has none any more: its order was deleted, or
// somebody deleted the budget. Its pods may live on, for as long as a provider is away.
func (s *State) gone(agent string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, had := s.begun[agent]
	_, has := s.budgets[agent]
	return had && !has
}

// judge says whether an agent may make a call, nil for yes; b is empty while no budget of
// it is known.
func (s *State) judge(agent string, b Budget, known bool, mode Mode, closed bool, at time.Time) *refusal {
	if !known {
		switch {
		case s.gone(agent):
			return &refusal{status: http.StatusForbidden, reason: "budget_gone", message: fmt.Sprintf("The budget of agent %q (XAgentBudget %s/%s) is gone, and nobody would see what it spends: the token meter lets no call through until there is one again. It goes with the agent's order.", agent, namespaceOf(agent), agent)}
		case mode == ModeHard:
			return &refusal{status: http.StatusForbidden, reason: "no_budget", message: "This agent has no budget (XAgentBudget) yet, and without one the token meter lets no call through in hard mode."}
		case closed && !s.Known():
			return &refusal{status: http.StatusServiceUnavailable, reason: "no_state", message: "The token meter doesn't know any budget yet, and lets no call through before (--without-state=closed)."}
		}
		return nil
	}
	_, asOf := b.spentBy(at)
	return b.judge(s.unscraped(b.Agent, asOf), at)
}

// unscraped is what an agent spent by the count of all replicas after its budget
// was last measured.
func (s *State) unscraped(agent string, asOf time.Time) USD {
	own := s.own(agent, asOf)
	if s.peers != nil {
		own += s.peers(agent, asOf)
	}
	return own
}
