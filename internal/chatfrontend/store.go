package chatfrontend

import (
	"crypto/rand"
	"encoding/base64"
	"slices"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

const (
	// maxConversations bounds what one person keeps, maxTurns one conversation.
	maxConversations = 50
	maxTurns         = 200
	// perTurn is what a turn costs beside its text.
	perTurn = 4 << 10
)

// newID returns 128 random bits, URL-safe.
func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// A conversation is one person's, from question to question. The planner knows it by
// a context id and a user id that no other conversation has.
type conversation struct {
	id      string
	owner   string
	context string
	user    string
	created time.Time

	mu       sync.Mutex
	title    string
	used     time.Time
	turns    []*turn
	pictures *album
}

func (c *conversation) picturePath(id string) string {
	return "/api/conversations/" + c.id + "/pictures/" + id
}

func (c *conversation) grown(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = now
}

func (c *conversation) turn(id string) *turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.turns {
		if t.view.ID == id { // it never changes
			return t
		}
	}
	return nil
}

// running is the turn that is being answered, or nil.
func (c *conversation) running() *turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range slices.Backward(c.turns) {
		if v, _, _ := t.look(); v.State == TurnWorking {
			return t
		}
	}
	return nil
}

// size is about how many bytes the conversation keeps.
func (c *conversation) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.pictures.size()
	for _, t := range c.turns {
		v, _, _ := t.look()
		n += perTurn + len(v.Question) + len(v.Markdown)
		for _, b := range v.Blocks {
			n += len(b)
		}
		for _, s := range v.Steps {
			n += len(s.HTML) + len(s.Code) + len(s.Request)
		}
	}
	return n
}

// A store keeps conversations in memory, within a bound; what was used last stays
// longest.
type store struct {
	max int // bytes

	mu  sync.Mutex
	all map[string]*conversation
}

func newStore(maxBytes int) *store { return &store{max: maxBytes, all: map[string]*conversation{}} }

func (s *store) create(owner string, now time.Time) *conversation {
	c := &conversation{
		id: newID(), owner: owner, context: a2a.NewContextID(), user: "chat-" + newID(),
		created: now, used: now, pictures: newAlbum(),
	}
	s.mu.Lock()
	s.all[c.id] = c
	s.mu.Unlock()
	s.trim()
	return c
}

// get returns a conversation of the owner's, or nil: that somebody else's exists is
// told to nobody.
func (s *store) get(owner, id string) *conversation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.all[id]; c != nil && c.owner == owner {
		return c
	}
	return nil
}

func (s *store) remove(c *conversation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c.id)
}

// list returns the owner's conversations, newest first.
func (s *store) list(owner string) []*conversation {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*conversation
	for _, c := range s.all {
		if c.owner == owner {
			out = append(out, c)
		}
	}
	byUse(out)
	return out
}

// answering counts the owner's questions that are being answered.
func (s *store) answering(owner string) int {
	n := 0
	for _, c := range s.list(owner) {
		if c.running() != nil {
			n++
		}
	}
	return n
}

func byUse(cs []*conversation) {
	used := make(map[*conversation]time.Time, len(cs))
	for _, c := range cs {
		c.mu.Lock()
		used[c] = c.used
		c.mu.Unlock()
	}
	slices.SortFunc(cs, func(a, b *conversation) int {
		if d := used[b].Compare(used[a]); d != 0 {
			return d
		}
		return b.created.Compare(a.created)
	})
}

// trim drops what was used longest ago, until each person and all together keep no
// more than they may. What is being answered stays.
func (s *store) trim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conversation, 0, len(s.all))
	for _, c := range s.all {
		all = append(all, c)
	}
	byUse(all)
	total, each := 0, map[string]int{}
	for _, c := range all {
		size := c.size()
		if (total+size > s.max || each[c.owner] >= maxConversations) && c.running() == nil {
			delete(s.all, c.id)
			continue
		}
		total += size
		each[c.owner]++
	}
}
