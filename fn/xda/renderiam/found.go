package renderiam

import (
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
)

// The Google providers import what exists under the name of a bucket or an account,
// without a word: they change it, and delete it with the order. So such a thing is first
// only looked at. docs/design/0012-ours-and-nobody-elses.md.

// Found is what a provider says of a thing whose name we choose.
type Found struct {
	Exists bool // the managed resource is observed

	LooksOnly bool // it was only allowed to look so far
	Made      bool // the provider made the thing
	Absent    bool // it looked, and there is none
	There     bool // it looked, and there is one
	Silent    bool // it calls it ready, and says nothing of it: no provider of Google's

	Project string            // that the thing lies in; "" when that isn't said
	Labels  map[string]string // of the thing; nil when none are said
	Text    string            // its description, for what has no labels
}

// Whose says whose a thing is.
type Whose int

// The answers.
const (
	Ours    Whose = iota // or nobody's: it may be made
	Unknown              // nobody has looked yet
	Theirs
)

// Judge says whose a thing is. uids are the order's and the one that it was restored
// from; an empty one is none.
func Judge(f Found, agent, project string, uids ...string) Whose {
	marked := func(mark string) bool {
		for _, u := range uids {
			if u != "" && mark == u {
				return true
			}
		}
		return false
	}
	mark, isMarked := f.Labels[v1alpha1.GoogleLabelOrderUID]
	other, named := f.Labels[v1alpha1.GoogleLabelAgent]
	switch {
	case f.Project != "" && f.Project != project, named && other != agent, isMarked && !marked(mark):
		return Theirs // whatever made us think that it was ours
	case f.Exists && !f.LooksOnly, f.Made, f.Absent, f.Silent:
		return Ours
	case f.There && (marked(mark) || marked(markIn(f.Text))):
		return Ours
	case f.There:
		return Theirs
	}
	return Unknown
}

// textMark stands in an account's description, which is all that an account has of labels.
func textMark(uid string) string { return "[order " + uid + "]" }

func markIn(text string) string {
	_, rest, _ := strings.Cut(text, "[order ")
	uid, _, _ := strings.Cut(rest, "]")
	return uid
}
