#!/usr/bin/env bash
# gopher-json, the JSON library of Argo CD's Lua scripts, turns an empty object into an
# empty list when a manifest goes through a script, and a list that ends in null
# into a shorter one.
#
# Seen with layeh.com/gopher-json v0.0.0-20190114024228-97fed8db8427 and gopher-lua v1.1.2 (what Argo CD 3.6 has in
# its go.mod): {"volumes":[{"name":"tmp","emptyDir":{}}]} comes back as
# {"volumes":[{"emptyDir":[],"name":"tmp"}]}. Lua has one empty table for both.
#
# So: what a script hands back is no manifest yet. Repair empty maps (emptyDir, podSelector,
# nodeSelector) from the original, or change the original instead.
# Needs: go. Takes some seconds.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"fmt"
	"os"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

// pass hands a JSON value to a script that returns it untouched, and encodes what comes back.
func pass(in string) string {
	l := lua.NewState()
	defer l.Close()
	v, err := luajson.Decode(l, []byte(in))
	if err != nil {
		panic(err)
	}
	l.SetGlobal("obj", v)
	if err := l.DoString("return obj"); err != nil {
		panic(err)
	}
	out, err := luajson.Encode(l.Get(-1))
	if err != nil {
		panic(err)
	}
	return string(out)
}

func main() {
	changed := false
	for _, c := range []struct{ in, want string }{
		{`{"emptyDir":{},"name":"tmp"}`, `{"emptyDir":[],"name":"tmp"}`},
		{`{"podSelector":{}}`, `{"podSelector":[]}`},
		{`{"args":["a",null]}`, `{"args":["a"]}`},
		{`{"labels":{"app":"x"}}`, `{"labels":{"app":"x"}}`},
	} {
		got := pass(c.in)
		fmt.Printf("%s -> %s\n", c.in, got)
		changed = changed || got != c.want
	}
	if changed {
		fmt.Println("CHANGED: it is not as this finding says")
		os.Exit(1)
	}
}
G
go mod init finding >/dev/null 2>&1
go get github.com/yuin/gopher-lua@v1.1.2 layeh.com/gopher-json@v0.0.0-20190114024228-97fed8db8427 >/dev/null 2>&1
go run .
echo "seen again: gopher-json 97fed8db8427, gopher-lua v1.1.2"
