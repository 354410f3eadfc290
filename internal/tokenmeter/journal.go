package tokenmeter

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"whisperops.io/functions/internal/tokenmeter/usage"
)

// A Key names the series of one counter, without its class.
type Key struct {
	Agent     string `json:"agent"`
	Namespace string `json:"namespace"`
	Model     string `json:"model"`
	Context   string `json:"context"`
	Tier      string `json:"tier"`
	Outcome   string `json:"outcome"`
}

// keySeparator stands in no label's value: it isn't UTF-8.
const keySeparator = "\xff"

func (k Key) bytes() []byte {
	return []byte(strings.Join([]string{k.Agent, k.Namespace, k.Model, k.Context, k.Tier, k.Outcome}, keySeparator))
}

func parseKey(b []byte) (Key, bool) {
	p := strings.Split(string(b), keySeparator)
	if len(p) != 6 {
		return Key{}, false
	}
	return Key{p[0], p[1], p[2], p[3], p[4], p[5]}, true
}

// An Entry is what a call used.
type Entry struct {
	Key    Key          `json:"key"`
	Tokens usage.Tokens `json:"tokens"`
}

// A Journal keeps counters on a local disk, so that they survive the process. A
// figure is shown only once it is in the journal: a counter that fell after a
// crash would be read as one that began anew, and counted twice.
//
// The file is written and not synced: what the kernel has, a killed process
// can't lose. A machine that loses its power loses the pod as well.
type Journal struct {
	db  *bbolt.DB // nil: in memory only
	ops chan journalOp

	mu     sync.RWMutex
	tokens map[Key]usage.Tokens
	spent  map[string]USD // by agent, at the prices of the time
	hard   map[string]USD // by agent and key: what hard budgets were charged
	err    error          // of the last write

	version uint64        // of what was spent
	changed chan struct{} // closed when it is another

	closed chan struct{}
	crash  []openCall // that were under way when the process before died
}

type journalOp struct {
	add    []Entry
	agent  string
	cost   USD
	hard   string // key
	charge USD    // to it
	open   *openCall
	id     uint64
	close  bool
	name   string // of a state to keep
	state  []byte
	done   chan error
	ending bool
}

var (
	bucketTokens = []byte("tokens")
	bucketCalls  = []byte("calls")
	bucketState  = []byte("state")
	bucketSpent  = []byte("spent")
	bucketHard   = []byte("hard")
)

// OpenJournal opens or makes the journal in a folder; an empty name keeps it in
// memory. A journal that can't be read is put aside, and broken is then true:
// the counters begin anew.
func OpenJournal(dir string) (j *Journal, broken bool, err error) {
	j = &Journal{ops: make(chan journalOp, 1024), tokens: map[Key]usage.Tokens{}, spent: map[string]USD{}, hard: map[string]USD{}, changed: make(chan struct{}), closed: make(chan struct{})}
	if dir == "" {
		go j.run()
		return j, false, nil
	}
	path := filepath.Join(dir, "tokens.db")
	if err := j.load(path); err != nil {
		if errors.Is(err, bbolterrors.ErrTimeout) {
			return nil, false, fmt.Errorf("cannot open the journal %s: another process has it open", path)
		}
		if os.IsPermission(err) {
			return nil, false, fmt.Errorf("cannot open the journal: %w", err)
		}
		broken = true
		if err := os.Rename(path, path+".broken-"+time.Now().UTC().Format("20060102T150405.000")); err != nil {
			return nil, false, fmt.Errorf("cannot put the unreadable journal aside: %w", err)
		}
		if err := j.load(path); err != nil {
			return nil, false, fmt.Errorf("cannot make a journal: %w", err)
		}
	}
	go j.run()
	return j, broken, nil
}

func (j *Journal) load(path string) (err error) {
	// bbolt panics at pages that make no sense.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("unreadable: %v", p)
		}
	}()
	j.tokens, j.spent, j.hard, j.crash = map[Key]usage.Tokens{}, map[string]USD{}, map[string]USD{}, nil
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: 5 * time.Second, NoSync: true, NoGrowSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return err
	}
	if err := db.Update(j.read); err != nil {
		return errors.Join(err, db.Close())
	}
	j.db = db
	return nil
}

// read makes what is missing, and takes over what the process before left.
func (j *Journal) read(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketTokens, bucketCalls, bucketState, bucketSpent, bucketHard} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	if err := tx.Bucket(bucketTokens).ForEach(func(k, v []byte) error {
		key, ok := parseKey(k)
		if !ok || len(v) != 8*int(usage.Classes) {
			return errors.New("a counter has another form")
		}
		j.tokens[key] = decodeTokens(v)
		return nil
	}); err != nil {
		return err
	}
	for _, sums := range []struct {
		bucket []byte
		to     map[string]USD
	}{{bucketSpent, j.spent}, {bucketHard, j.hard}} {
		if err := tx.Bucket(sums.bucket).ForEach(func(k, v []byte) error {
			if len(v) != 8 {
				return errors.New("a sum has another form")
			}
			sums.to[string(k)] = USD(binary.BigEndian.Uint64(v)) //nolint:gosec // as it was written
			return nil
		}); err != nil {
			return err
		}
	}
	return j.readCalls(tx)
}

func putSum(tx *bbolt.Tx, bucket []byte, key string, p USD) error {
	return tx.Bucket(bucket).Put([]byte(key), binary.BigEndian.AppendUint64(nil, uint64(p))) //nolint:gosec // load reads it back
}

func encodeTokens(t usage.Tokens) []byte {
	b := make([]byte, 0, 8*usage.Classes)
	for _, n := range t {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func decodeTokens(b []byte) usage.Tokens {
	var t usage.Tokens
	for c := range t {
		t[c] = binary.BigEndian.Uint64(b[8*c:])
	}
	return t
}

// Open notes a call that begins, or what is known of one that goes on. With wait it
// is on disk when Open returns.
func (j *Journal) Open(id uint64, c openCall, wait bool) error {
	return j.do(journalOp{id: id, open: &c}, wait)
}

// Touch makes series exist, at 0.
func (j *Journal) Touch(keys ...Key) {
	j.mu.RLock()
	var add []Entry
	for _, k := range keys {
		if _, ok := j.tokens[k]; !ok {
			add = append(add, Entry{Key: k})
		}
	}
	j.mu.RUnlock()
	if len(add) > 0 {
		j.do(journalOp{add: add}, false) //nolint:errcheck,gosec // it isn't waited for
	}
}

// Add counts what a call of an agent used, and what that costs. When it returns,
// the figures are in the journal and are shown. They count also when the disk
// doesn't take them; the error says so.
func (j *Journal) Add(id uint64, end bool, agent string, cost USD, entries ...Entry) error {
	return j.do(journalOp{id: id, close: end, agent: agent, cost: cost, add: entries}, true)
}

// Advance is Add for a call that goes on, and forgets what was noted of it with Open.
func (j *Journal) Advance(id uint64, c openCall, cost USD, entries ...Entry) error {
	return j.do(journalOp{id: id, open: &c, agent: c.Agent, cost: cost, add: entries}, true)
}

// Charge is Add at the end of a call of a hard budget, which is charged under a
// key what the call may have cost.
func (j *Journal) Charge(id uint64, agent string, cost USD, key string, charge USD, entries ...Entry) error {
	return j.do(journalOp{id: id, close: true, agent: agent, cost: cost, hard: key, charge: charge, add: entries}, true)
}

// Hard is what an agent's hard budget was charged under a key.
func (j *Journal) Hard(agent, key string) USD {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.hard[agent+keySeparator+key]
}

// Spent is what an agent ever spent, at the prices of the time.
func (j *Journal) Spent(agent string) USD {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.spent[agent]
}

// Keep stores a state under a name; it isn't waited for.
func (j *Journal) Keep(name string, state []byte) {
	j.do(journalOp{name: name, state: state}, false) //nolint:errcheck,gosec // it isn't waited for
}

// Kept is a state that was kept, nil if there is none.
func (j *Journal) Kept(name string) []byte {
	if j.db == nil {
		return nil
	}
	var state []byte
	if err := j.db.View(func(tx *bbolt.Tx) error {
		state = append(state, tx.Bucket(bucketState).Get([]byte(name))...)
		return nil
	}); err != nil {
		return nil
	}
	return state
}

func (j *Journal) do(o journalOp, wait bool) error {
	if wait {
		o.done = make(chan error, 1)
	}
	select {
	case j.ops <- o:
	case <-j.closed:
		return errors.New("the journal is closed")
	}
	if !wait {
		return nil
	}
	select {
	case err := <-o.done:
		return err
	case <-j.closed:
	}
	// Those of the last write are told before the journal closes, and may see both.
	select {
	case err := <-o.done:
		return err
	default:
		return errors.New("the journal is closed")
	}
}

// run writes what has gathered while the write before was under way.
func (j *Journal) run() {
	defer close(j.closed)
	for o := range j.ops {
		batch := []journalOp{o}
	gather:
		for len(batch) < cap(j.ops) {
			select {
			case o := <-j.ops:
				batch = append(batch, o)
			default:
				break gather
			}
		}
		err := j.write(batch)
		ending := false
		for _, o := range batch {
			if o.done != nil {
				o.done <- err
			}
			ending = ending || o.ending
		}
		if ending {
			return
		}
	}
}

// sums are counters as a batch leaves them.
type sums struct {
	tokens      map[Key]usage.Tokens
	spent, hard map[string]USD
}

// raise adds to a sum that may not have been touched yet.
func raise[K comparable](to, from map[K]USD, key K, p USD) {
	if _, ok := to[key]; !ok {
		to[key] = from[key]
	}
	to[key] += p
}

func (j *Journal) write(batch []journalOp) error {
	s := sums{map[Key]usage.Tokens{}, map[string]USD{}, map[string]USD{}}
	for _, o := range batch {
		if o.cost != 0 {
			raise(s.spent, j.spent, o.agent, o.cost) // only run writes these maps
		}
		if o.charge != 0 {
			raise(s.hard, j.hard, o.agent+keySeparator+o.hard, o.charge)
		}
		for _, e := range o.add {
			sum, ok := s.tokens[e.Key]
			if !ok {
				sum = j.tokens[e.Key]
			}
			s.tokens[e.Key] = sum.Plus(e.Tokens)
		}
	}
	err := j.persist(batch, s)
	j.mu.Lock()
	defer j.mu.Unlock()
	maps.Copy(j.tokens, s.tokens)
	maps.Copy(j.spent, s.spent)
	maps.Copy(j.hard, s.hard)
	j.err = err
	if len(s.spent) > 0 || len(s.tokens) > 0 {
		j.version++ // from 1: 0 is nothing known
		close(j.changed)
		j.changed = make(chan struct{})
	}
	return err
}

// Changed returns how often agents' spending changed, and what is closed when it
// does the next time.
func (j *Journal) Changed() (version uint64, changed <-chan struct{}) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.version, j.changed
}

func (j *Journal) persist(batch []journalOp, s sums) error {
	if j.db == nil {
		return nil
	}
	return j.db.Update(func(tx *bbolt.Tx) error {
		tokens := tx.Bucket(bucketTokens)
		for k, t := range s.tokens {
			if err := tokens.Put(k.bytes(), encodeTokens(t)); err != nil {
				return err
			}
		}
		for agent, p := range s.spent {
			if err := putSum(tx, bucketSpent, agent, p); err != nil {
				return err
			}
		}
		for key, p := range s.hard {
			if err := putSum(tx, bucketHard, key, p); err != nil {
				return err
			}
		}
		return persistCalls(tx, batch)
	})
}

// persistCalls writes which calls began and ended, and the states to keep. A call
// that begins and ends in one batch never was.
func persistCalls(tx *bbolt.Tx, batch []journalOp) error {
	calls, state := tx.Bucket(bucketCalls), tx.Bucket(bucketState)
	ended := map[uint64]bool{}
	for _, o := range batch {
		if o.close {
			ended[o.id] = true
		}
	}
	for _, o := range batch {
		var err error
		switch id := binary.BigEndian.AppendUint64(nil, o.id); {
		case o.open != nil && !ended[o.id]:
			var b []byte
			if b, err = json.Marshal(o.open); err == nil {
				err = calls.Put(id, b)
			}
		case o.close:
			err = calls.Delete(id)
		case o.name != "":
			err = state.Put([]byte(o.name), o.state)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Snapshot returns the counters as they are in the journal, and what agents spent
// by them.
func (j *Journal) Snapshot() (map[Key]usage.Tokens, map[string]USD) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return maps.Clone(j.tokens), maps.Clone(j.spent)
}

// Err is why the last write failed, nil if it didn't.
func (j *Journal) Err() error {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.err
}

// Close ends the journal once everything is written.
func (j *Journal) Close() error {
	if err := j.do(journalOp{ending: true}, true); err != nil {
		return err
	}
	<-j.closed
	if j.db == nil {
		return nil
	}
	return errors.Join(j.db.Sync(), j.db.Close())
}
