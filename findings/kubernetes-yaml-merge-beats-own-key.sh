#!/usr/bin/env bash
# sigs.k8s.io/yaml, which reads the YAML of Kubernetes' tools, lets a merged value win
# over a mapping's own when the own key stands first; its strict reader refuses both orders,
# and names the line of the anchor.
#
# Seen with sigs.k8s.io/yaml v1.6.0: of
#     base: &b {cpu: 100m, memory: 64Mi}
#     row: {memory: 1Gi, <<: *b}
# Unmarshal makes memory 64Mi, without a word; with the merge first it makes 1Gi. UnmarshalStrict
# says 'key "memory" already set in map' of both, and of two merges that share a key.
# go.yaml.in/yaml/v3 v3.0.4 makes 1Gi of both, as YAML's merge key type says (a mapping's own keys win).
#
# So: a file with anchors means one thing to a linter or an editor on yaml/v3 and another to what
# applies it, and who turns strict reading on refuses files that were right. Put merges first,
# and never read prices or limits of others with the loose reader.
# Needs: go. Takes some seconds.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"fmt"
	"os"

	v3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

type limits struct {
	CPU    string `json:"cpu" yaml:"cpu"`
	Memory string `json:"memory" yaml:"memory"`
}

type file struct {
	Base limits `json:"base" yaml:"base"`
	Row  limits `json:"row" yaml:"row"`
}

func main() {
	changed := false
	for _, c := range []struct{ row, kubernetes, other string }{
		{"{<<: *b, memory: 1Gi}", "1Gi", "1Gi"},
		{"{memory: 1Gi, <<: *b}", "64Mi", "1Gi"},
	} {
		text := []byte("base: &b {cpu: 100m, memory: 64Mi}\nrow: " + c.row + "\n")
		var loose, strict, other file
		if err := yaml.Unmarshal(text, &loose); err != nil {
			panic(err)
		}
		if err := v3.Unmarshal(text, &other); err != nil {
			panic(err)
		}
		err := yaml.UnmarshalStrict(text, &strict)
		fmt.Printf("row: %s\n  sigs.k8s.io/yaml  memory %s\n  strictly          %v\n  yaml/v3           memory %s\n", c.row, loose.Row.Memory, err, other.Row.Memory)
		changed = changed || loose.Row.Memory != c.kubernetes || other.Row.Memory != c.other || err == nil
	}
	if changed {
		fmt.Println("CHANGED: it is not as this finding says")
		os.Exit(1)
	}
}
G
go mod init finding >/dev/null 2>&1
go get sigs.k8s.io/yaml@v1.6.0 go.yaml.in/yaml/v3@v3.0.4 >/dev/null 2>&1
go run .
echo "seen again: sigs.k8s.io/yaml v1.6.0, go.yaml.in/yaml/v3 v3.0.4"
