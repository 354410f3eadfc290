package tokenmeter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

// A Book is the ledger of one agent's hard budget, shared by all replicas of the
// meter: what was spent before it began, and each replica's share. Nobody spends
// what is not in its share, and shares are written one after the other (the API
// server refuses a write that didn't see the one before): the sum never passes
// the cap, whoever dies and whenever. A replica that doesn't come back keeps what
// it had: its calls may have cost that.
type Book struct {
	Edition

	Base   USD              `json:"base"` // spent before the book began
	Shares map[string]Share `json:"shares"`
}

// An Edition says which budget and period a book is of. A replica whose clock or
// cache is behind must not replace a later one.
type Edition struct {
	Budget     string          `json:"budget"` // uid of the XAgentBudget
	Created    time.Time       `json:"created"`
	Generation int64           `json:"generation"` // in which the kind was read
	Kind       v1alpha1.Period `json:"kind"`
	Period     string          `json:"period"`
	Start      time.Time       `json:"start"`
}

func editionOf(b Budget, at time.Time) Edition {
	return Edition{
		Budget: b.UID, Created: b.Created, Generation: b.Generation, Kind: b.Period,
		Period: b.periodKey(at), Start: b.periodStart(at),
	}
}

// is says whether two editions are the same.
func (e Edition) is(o Edition) bool {
	return e.Budget == o.Budget && e.Kind == o.Kind && e.Period == o.Period
}

// before says whether an edition is older than another, which it isn't.
func (e Edition) before(o Edition) bool {
	switch {
	case e.Budget != o.Budget:
		return !o.Created.Before(e.Created)
	case e.Kind != o.Kind:
		return e.Generation < o.Generation
	}
	return e.Start.Before(o.Start)
}

// A Share of a book is what one replica may spend, and what it is known to have.
type Share struct {
	Granted USD   `json:"granted"`
	Spent   USD   `json:"spent"`
	Writes  int64 `json:"writes"` // by this replica: no two of its books are the same
}

// committed is what is spent or may be.
func (b Book) committed() USD {
	sum := b.Base
	for _, s := range b.Shares {
		sum += s.Granted
	}
	return sum
}

// spent is what is known to be spent.
func (b Book) spent() USD {
	sum := b.Base
	for _, s := range b.Shares {
		sum += s.Spent
	}
	return sum
}

// Books is where they are kept. Put fails with errConflict unless the book is
// still of the version that Get returned; after any other error it may have been
// written or not.
type Books interface {
	// Get returns a nil book if there is none.
	Get(ctx context.Context, agent string) (book *Book, version string, err error)
	Put(ctx context.Context, agent string, book Book, version string) (next string, err error)
}

var (
	errConflict = errors.New("somebody else wrote the book")
	errBehind   = errors.New("the book is of a later period or budget than this replica knows")
)

// A Treasury hands out the money of hard budgets.
type Treasury struct {
	books   Books
	replica string
	journal *Journal
	wait    time.Duration // for money that other calls hold
	timeout time.Duration // of one request to the API server
	log     logr.Logger
	now     func() time.Time

	mu    sync.Mutex
	funds map[string]*fund
}

// A fund is a replica's share of one agent's book, in memory. What is reserved and
// spent never passes what is granted. A fund belongs to one period and one budget.
type fund struct {
	agent   string
	edition Edition

	mu       sync.Mutex
	granted  USD // not more than in the book
	spent    USD
	reserved USD
	cap      USD  // under which it was granted
	opened   bool // the book was read
	unsure   bool // a write may still arrive: the next one must make it too late

	// One at a time talks to the API server; the others wait for what it gets.
	turn    chan struct{}
	waiting USD // what those need who wait
	back    *time.Timer
}

// newTreasury keeps books under a replica's name.
func newTreasury(b Books, replica string, j *Journal, wait time.Duration, log logr.Logger, now func() time.Time) *Treasury {
	return &Treasury{books: b, replica: replica, journal: j, wait: wait, timeout: 5 * time.Second, log: log, now: now, funds: map[string]*fund{}}
}

// A hold is what a call may cost at most, set aside. A nil one holds nothing.
type hold struct {
	amount USD
	key    string // of the journal
	fund   *fund
	from   *Treasury
}

func (t *Treasury) fund(b Budget, at time.Time) *fund {
	e := editionOf(b, at)
	key := b.Agent + "/" + e.key()
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.funds[key]
	if f == nil {
		f = &fund{agent: b.Agent, edition: e, turn: make(chan struct{}, 1), unsure: true}
		t.funds[key] = f
	}
	return f
}

// key of what is spent in an edition, in the journal.
func (e Edition) key() string { return e.Budget + "/" + e.Period }

// take reserves from what is granted already.
func (f *fund) take(cost, limit USD) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.opened || f.cap > limit || f.granted-f.spent-f.reserved < cost {
		return false
	}
	f.reserved += cost
	return true
}

// reserve sets money aside for a call, waiting for a while for what other calls
// hold, and no longer than its caller is there.
func (t *Treasury) reserve(caller context.Context, m *Meter, b Budget, cost USD) (*hold, *refusal) {
	f := t.fund(b, t.now())
	got := func() (*hold, *refusal) {
		return &hold{amount: cost, key: f.edition.key(), fund: f, from: t}, nil
	}
	if f.take(cost, b.Cap) {
		return got()
	}
	f.mu.Lock()
	f.waiting += cost
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.waiting -= cost
		f.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(caller, t.wait)
	defer cancel()
	var book Book
	var err error
	no := func(err error) (*hold, *refusal) {
		if caller.Err() != nil { // nobody reads it, and the metric of refusals counts it
			return nil, &refusal{status: http.StatusServiceUnavailable, reason: "left", message: "Whoever made this call left while it waited for money of a hard budget."}
		}
		return nil, t.refuse(b, book, cost, err)
	}
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		select {
		case f.turn <- struct{}{}:
			if caller.Err() != nil { // a turn and an end may come together
				<-f.turn
				return no(nil)
			}
			if f.take(cost, b.Cap) { // whoever had the turn before got enough
				<-f.turn
				return got()
			}
			book, err = t.ask(m, f, b, cost) //nolint:contextcheck // what it gets is for others too, and a write must not be left halfway
			ok := err == nil && f.take(cost, b.Cap)
			<-f.turn
			if ok {
				return got()
			}
		case <-ctx.Done():
			if err == nil && book.Shares == nil {
				err = ctx.Err()
			}
			return no(err)
		}
		if err == nil && book.spent()+cost > b.Cap {
			// It doesn't fit, whatever comes back.
			return no(nil)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return no(err)
		}
	}
}

func (t *Treasury) refuse(b Budget, book Book, cost USD, err error) *refusal {
	if err != nil {
		return &refusal{status: http.StatusServiceUnavailable, reason: "no_ledger", message: "The budget of agent " + b.Agent + " is a hard one, and the token meter can't reach the API server, where it is kept."}
	}
	spent := book.spent()
	if spent >= b.Cap {
		return &refusal{status: statusSpent, reason: "budget-exhausted", message: b.spentMessage(spent)}
	}
	return &refusal{status: statusSpent, reason: "budget-short", message: fmt.Sprintf(
		"The budget of agent %q is nearly spent: %s USD are left, less what calls under way may cost, and this call may cost up to %s. Whoever owns the agent can raise it: spec.budgetUsd of XDatasetAgent %s.",
		b.Agent, dollars(b.Cap-spent), dollars(cost), b.Agent)}
}

// ask reads the book, and writes a larger share into it if there is money. Whoever
// calls it has the turn.
func (t *Treasury) ask(m *Meter, f *fund, b Budget, cost USD) (Book, error) {
	return t.edit(f, func(book *Book, old *Book) bool {
		if old == nil || !old.is(f.edition) {
			t.begin(m, book, old, f, b)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		mine := t.mine(book, f)
		if f.cap > b.Cap {
			// Granted under a higher cap: what is free goes back first.
			mine.Granted = f.spent + f.reserved
			f.granted = mine.Granted
		}
		book.Shares[t.replica] = mine
		committed := book.committed()
		if spent, _ := b.spentBy(t.now()); spent > book.spent() {
			committed += spent - book.spent() // counted by others than these meters
		}
		left, free := b.Cap-committed, mine.Granted-f.spent-f.reserved
		need := max(cost, f.waiting) - free
		if need > left {
			need = cost - free // for this one at least
		}
		if need > 0 && need <= left {
			// Some more, so that not each call has to ask; little when little is left.
			mine.Granted += need + min(4*cost, (left-need)/16)
		}
		mine.Spent = f.spent
		book.Shares[t.replica] = mine
		f.cap = b.Cap
		return true
	})
}

// mine is the replica's share. Who asks holds f.mu.
func (t *Treasury) mine(book *Book, f *fund) Share {
	if !f.opened {
		// The journal knows what this replica spent of it, calls that nobody saw the
		// end of included.
		f.spent += t.journal.Hard(f.agent, f.edition.key())
		f.opened = true
	}
	s := book.Shares[t.replica]
	// A share that is lost from the book is put back before anything else.
	s.Granted = max(s.Granted, f.spent+f.reserved)
	return s
}

// begin makes a new book: for the first call ever, in a period, or of a budget.
func (t *Treasury) begin(m *Meter, book, old *Book, f *fund, b Budget) {
	spent, asOf := b.spentBy(t.now())
	if m != nil {
		spent += m.state.unscraped(b.Agent, asOf)
	}
	if old != nil && (old.Budget != f.edition.Budget || old.Kind != f.edition.Kind) {
		// Calls of the old book may be under way; those of a period that went by belong
		// to that.
		spent += old.committed() - old.spent()
	}
	*book = Book{Edition: f.edition, Base: spent, Shares: map[string]Share{}}
}

// edit reads, changes and writes a book, as often as others get in between. What
// the book then grants is the fund's. Whoever calls it has the turn; change says
// whether there is anything to write.
func (t *Treasury) edit(f *fund, change func(book, old *Book) bool) (Book, error) {
	for tries := 0; ; tries++ {
		book, err := t.editOnce(f, change)
		if !errors.Is(err, errConflict) || tries == 50 {
			return book, err
		}
	}
}

func (t *Treasury) editOnce(f *fund, change func(book, old *Book) bool) (Book, error) {
	ctx, cancel := context.WithTimeout(context.Background(), t.timeout)
	defer cancel()
	old, version, err := t.books.Get(ctx, f.agent)
	if err != nil {
		return Book{}, err
	}
	if old != nil && !old.is(f.edition) && f.edition.before(old.Edition) {
		return Book{}, errBehind
	}
	book := Book{Shares: map[string]Share{}}
	if old != nil && old.is(f.edition) {
		book = *old
		book.Shares = maps.Clone(old.Shares)
		if book.Shares == nil {
			book.Shares = map[string]Share{}
		}
	}
	before := book.Shares[t.replica]
	if !change(&book, old) {
		return book, nil
	}
	after := book.Shares[t.replica]
	f.mu.Lock()
	unsure := f.unsure
	f.mu.Unlock()
	if before != after || unsure || old == nil || !old.is(f.edition) {
		after.Writes++
		book.Shares[t.replica] = after
		_, err = t.books.Put(ctx, f.agent, book, version)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.granted, f.unsure = after.Granted, false
	case !errors.Is(err, errConflict):
		f.unsure = true
	}
	return book, err
}

// settle ends a hold: so much of it is spent, the rest is free again. The journal
// knows it already.
func (h *hold) settle(spent USD) {
	if h == nil {
		return
	}
	f := h.fund
	f.mu.Lock()
	f.reserved -= h.amount
	f.spent += spent
	f.mu.Unlock()
	h.from.later(f)
}

// charge is what a call that ended costs a hard budget: what it cost where that is
// known, else all that was held.
func (h *hold) charge(cost USD, r *usage.Report, status int) USD {
	switch {
	case h == nil:
		return 0
	case r != nil && r.Final:
		return cost
	case r != nil && status >= 400 && !r.Seen:
		return 0 // the provider refused
	}
	return max(cost, h.amount)
}

// later gives back what nobody needs, soon where money is short, and also tells
// the others what was spent.
func (t *Treasury) later(f *fund) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.back != nil {
		return
	}
	f.back = time.AfterFunc(backAfter, func() {
		f.turn <- struct{}{}
		f.mu.Lock()
		f.back = nil
		f.mu.Unlock()
		if err := t.giveBack(f); err != nil {
			t.log.V(1).Info("Cannot give back what a hard budget lent", "agent", f.agent, "error", err.Error())
			t.later(f)
		}
		<-f.turn
	})
}

// backAfter is how long free money stays with a replica after a call. Others may
// wait for it, but a busy agent shouldn't ask for every call.
const backAfter = 200 * time.Millisecond

// giveBack lowers the share to what is spent or held. Whoever calls it has the
// turn. The fund is lowered first: nobody may take what is on its way back.
func (t *Treasury) giveBack(f *fund) error {
	_, err := t.edit(f, func(book, old *Book) bool {
		if old == nil || !old.is(f.edition) {
			return false // that book is closed
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		mine := t.mine(book, f)
		f.granted = f.spent + f.reserved + max(0, min(f.waiting, f.granted-f.spent-f.reserved))
		mine.Granted, mine.Spent = f.granted, f.spent
		book.Shares[t.replica] = mine
		return true
	})
	if errors.Is(err, errBehind) {
		return nil
	}
	return err
}

// close gives everything back.
func (t *Treasury) close() {
	t.mu.Lock()
	funds := make([]*fund, 0, len(t.funds))
	for _, f := range t.funds {
		funds = append(funds, f)
	}
	t.mu.Unlock()
	for _, f := range funds {
		f.turn <- struct{}{}
		f.mu.Lock()
		opened := f.opened
		f.mu.Unlock()
		if opened {
			if err := t.giveBack(f); err != nil {
				t.log.Info("Cannot give back what a hard budget lent; it counts as spent", "agent", f.agent, "error", err.Error())
			}
		}
		<-f.turn
	}
}
