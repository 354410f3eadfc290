package fetchspend

import (
	"sync"

	"whisperops.io/functions/internal/pricing"
)

// tables are the price tables that were read last, by their text: most agents have the
// same one, and to read it takes longer than to count. What reads a table changes
// nothing in it.
type tables struct {
	mu   sync.Mutex
	read map[string]*pricing.Table
}

// maxTables is more than an installation has at a time.
const maxTables = 8

// Read is pricing.Read. The same text is the same table, as long as it is remembered.
func (t *tables) Read(text string) (*pricing.Table, error) {
	t.mu.Lock()
	known := t.read[text]
	t.mu.Unlock()
	if known != nil {
		return known, nil
	}
	table, err := pricing.Read(text)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if first := t.read[text]; first != nil {
		return first, nil // two read it at once: who compares tables must see one
	}
	if t.read == nil || len(t.read) >= maxTables {
		t.read = map[string]*pricing.Table{}
	}
	t.read[text] = table
	return table, nil
}
