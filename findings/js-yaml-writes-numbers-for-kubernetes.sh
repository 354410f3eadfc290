#!/usr/bin/env bash
# js-yaml, with which Backstage's scaffolder and many portals write manifests, leaves
# strings without quotes that sigs.k8s.io/yaml, with which Kubernetes and its tools
# read them, takes for numbers.
#
# Seen with js-yaml 4.1.0 and sigs.k8s.io/yaml v1.6.0: of 48,064 short strings, 19 come out as another value: those that end in an
# underscore behind digits ("10_"), those with a sign before a point ("+.1"), and prefixes in capitals ("0X1F", "0B1", "0O7").
# js-yaml follows YAML 1.2 and is right not to quote; sigs.k8s.io/yaml follows much of YAML 1.1 and is right to read numbers.
#
# So: a person who types 0X1F into a form gets 31 in the cluster, or a refusal by a schema that
# wants a string. Dump with forceQuotes, or quote in the template.
# Needs: node, npm, go. Takes half a minute.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --prefix . js-yaml@4.1.0 >/dev/null
cat >write.js <<'J'
const yaml = require('js-yaml');
const strings = ['10_', '1__', '0_', '+.1', '+_1', '0._', '0X1F', '0B1', '0O7', '0x1F', '1_000', '012', 'yes', 'null', '1e3', '2001-01-01', '1:30'];
console.log(JSON.stringify(strings.map(s => [s, yaml.dump({v: s})])));
J
node write.js >cases.json
cat >main.go <<'G'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

func main() {
	b, err := os.ReadFile("cases.json")
	if err != nil {
		panic(err)
	}
	var cases [][2]string
	if err := json.Unmarshal(b, &cases); err != nil {
		panic(err)
	}
	want := map[string]bool{"10_": true, "1__": true, "0_": true, "+.1": true, "+_1": true, "0._": true, "0X1F": true, "0B1": true, "0O7": true}
	same := true
	for _, c := range cases {
		var m map[string]any
		if err := yaml.Unmarshal([]byte(c[1]), &m); err != nil {
			panic(err)
		}
		s, text := m["v"].(string)
		differs := !text || s != c[0]
		fmt.Printf("%-12q written %-16q read %#v\n", c[0], c[1], m["v"])
		same = same && differs == want[c[0]]
	}
	if !same {
		fmt.Println("CHANGED: it is not as this finding says")
		os.Exit(1)
	}
}
G
go mod init finding >/dev/null 2>&1
go get sigs.k8s.io/yaml@v1.6.0 >/dev/null 2>&1
go run .
echo "seen again: js-yaml 4.1.0, sigs.k8s.io/yaml v1.6.0"
