package edge

import (
	"reflect"
	"regexp"
	"strings"

	"whisperops.io/functions/internal/errors"
)

// hintDepth is how deep a field may stand that a hint names. No input of ours is deeper.
const hintDepth = 4

var unknownField = regexp.MustCompile(`^unknown field "([^"]*)"$`)

// withHint adds to the refusal of a field where one of that name stands, if there is one:
// people know the names from pods, and spell them as they remember.
func withHint(err error, input reflect.Type) error {
	m := unknownField.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	leaf := m[1][strings.LastIndexByte(m[1], '.')+1:]
	// The nearest to the top counts, so fields are visited level by level.
	type level struct {
		path string
		of   reflect.Type
	}
	for levels := []level{{"", input}}; len(levels) > 0; {
		l := levels[0]
		levels = levels[1:]
		for l.of.Kind() == reflect.Pointer || l.of.Kind() == reflect.Slice {
			l.of = l.of.Elem()
		}
		// Other people's types are pods' innards: no place for what stands at the top.
		if strings.Count(l.path, ".") > hintDepth || l.of.Kind() != reflect.Struct || !strings.HasPrefix(l.of.PkgPath(), "whisperops.io/") {
			continue
		}
		for f := range l.of.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-":
			case name == "":
				levels = append(levels, level{l.path, f.Type})
			case strings.EqualFold(name, leaf):
				return errors.Errorf("%w; there is %q", err, l.path+name)
			default:
				levels = append(levels, level{l.path + name + ".", f.Type})
			}
		}
	}
	return err
}
