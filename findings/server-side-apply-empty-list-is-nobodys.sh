#!/usr/bin/env bash
# Under server-side apply an empty list that is a set or a map belongs to nobody: whether it is there
# depends on what the object was before, and it stays when its applier no longer wants it.
#
# Seen with sigs.k8s.io/structured-merge-diff v6.4.2, with which API servers merge. One applier, a field `set` of
# list type "set", and the same configuration {spec: {num: 1, set: []}}: on an object without spec it
# makes set: [], on one with set: [a] of the same applier it makes no set at all. In the first case the
# applier owns spec.num and not spec.set, and when it applies {spec: {num: 1}} the empty list is still
# there. An empty map in its place is owned and goes away.
#
# So: where [] and nothing differ ("for none", "for all"), make the list atomic, or say it in
# a field of its own; and don't wait for a list to go by applying without it.
# Needs: go. Takes some seconds.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/merge"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

const schema = `types:
- name: thing
  map:
    fields:
    - {name: spec, type: {namedType: spec}}
- name: spec
  map:
    fields:
    - {name: num, type: {scalar: numeric}}
    - {name: map, type: {map: {elementType: {scalar: string}}}}
    - {name: set, type: {list: {elementType: {scalar: string}, elementRelationship: associative}}}
`

// One version, so that nothing is to be converted.
type same struct{}

func (same) Convert(v *typed.TypedValue, _ fieldpath.APIVersion) (*typed.TypedValue, error) {
	return v, nil
}
func (same) IsMissingVersionError(error) bool { return false }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// applied is what one applier's configurations, one after the other, make of an empty object, and what it owns at the end.
func applied(configs ...string) (string, string) {
	thing := must(typed.NewParser(schema)).Type("thing")
	updater := (&merge.UpdaterBuilder{Converter: same{}}).BuildUpdater()
	live, managers := must(thing.FromYAML("{}")), fieldpath.ManagedFields{}
	for _, c := range configs {
		out, m, err := updater.Apply(live, must(thing.FromYAML(typed.YAMLObject(c))), "v1", managers, "applier", false)
		if err != nil {
			panic(err)
		}
		if managers = m; out != nil {
			live = out
		}
	}
	b := must(json.Marshal(live.AsValue().Unstructured()))
	return string(b), string(must(managers["applier"].Set().ToJSON()))
}

func main() {
	changed := false
	for _, c := range []struct {
		configs []string
		want    string
	}{
		{[]string{`{spec: {num: 1, set: []}}`}, `{"spec":{"num":1,"set":[]}}`},
		{[]string{`{spec: {num: 1, set: [a]}}`, `{spec: {num: 1, set: []}}`}, `{"spec":{"num":1}}`},
		{[]string{`{spec: {num: 1, set: []}}`, `{spec: {num: 1}}`}, `{"spec":{"num":1,"set":[]}}`},
		{[]string{`{spec: {num: 1, map: {}}}`, `{spec: {num: 1}}`}, `{"spec":{"num":1}}`},
	} {
		got, owned := applied(c.configs...)
		fmt.Printf("%v\n  makes %s\n  owns  %s\n", c.configs, got, owned)
		changed = changed || got != c.want
	}
	if changed {
		fmt.Println("CHANGED: it is not as this finding says")
		os.Exit(1)
	}
}
G
go mod init finding >/dev/null 2>&1
go get sigs.k8s.io/structured-merge-diff/v6@v6.4.2 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go list -m sigs.k8s.io/structured-merge-diff/v6
go run .
echo "seen again: structured-merge-diff v6.4.2"
