package tokenmeter

import (
	"encoding/json"
	"time"

	"go.etcd.io/bbolt"
)

// An openCall is a call of which the end isn't known: if the process dies, it is
// one that nobody counted.
type openCall struct {
	Agent     string    `json:"agent"`
	Namespace string    `json:"namespace"`
	Asked     string    `json:"asked,omitempty"`
	Started   time.Time `json:"started"`
	Reserved  USD       `json:"reserved,omitempty"`
	Key       string    `json:"key,omitempty"` // of the hard budget

	// Known is what a stream has cost so far: it counts, as estimated, if nobody sees
	// the end.
	Known []Entry `json:"known,omitempty"`
	Cost  USD     `json:"cost,omitempty"`
}

// readCalls takes the calls out that were under way when the process before died.
func (j *Journal) readCalls(tx *bbolt.Tx) error {
	calls := tx.Bucket(bucketCalls)
	var ids [][]byte
	if err := calls.ForEach(func(k, v []byte) error {
		var c openCall
		if err := json.Unmarshal(v, &c); err != nil {
			return err
		}
		j.crash = append(j.crash, c)
		ids = append(ids, append([]byte(nil), k...))
		return nil
	}); err != nil {
		return err
	}
	for _, id := range ids {
		if err := calls.Delete(id); err != nil {
			return err
		}
	}
	for _, c := range j.crash {
		if err := j.estimate(tx, c); err != nil {
			return err
		}
		// What was held for a call that nobody saw the end of is spent.
		if c.Reserved > 0 {
			k := c.Agent + keySeparator + c.Key
			j.hard[k] += c.Reserved
			if err := putSum(tx, bucketHard, k, j.hard[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// estimate counts what was known of a call that nobody saw the end of.
func (j *Journal) estimate(tx *bbolt.Tx, c openCall) error {
	if len(c.Known) == 0 {
		return nil
	}
	for _, e := range c.Known {
		j.tokens[e.Key] = j.tokens[e.Key].Plus(e.Tokens)
		if err := tx.Bucket(bucketTokens).Put(e.Key.bytes(), encodeTokens(j.tokens[e.Key])); err != nil {
			return err
		}
	}
	j.spent[c.Agent] += c.Cost
	return putSum(tx, bucketSpent, c.Agent, j.spent[c.Agent])
}

// crashed are the calls that were under way when the process before died.
func (j *Journal) crashed() []openCall { return j.crash }
