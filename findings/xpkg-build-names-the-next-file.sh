#!/usr/bin/env bash
# When one of a Crossplane package's files can't be read, the error names the file that comes
# after it.
#
# Seen with crossplane-runtime v2.4.0 (pkg/xpkg/parser, with which "crossplane xpkg build" 2.5.0 reads a folder and says the
# same): of a.yaml, b.yaml and c.yaml, a wrong kind in a.yaml is reported with path b.yaml, one in
# b.yaml with c.yaml, and one in c.yaml with c.yaml, since there is no other. A syntax error likewise. By the time that a
# document is parsed, the reader has gone on to the next file. The position is 0.
#
# So: look into the file before the one that is named, in the order of paths; the last part of
# the message, kind or line, is true of that one.
# Needs: go. Takes minutes on an empty cache.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/xpkg"
	"github.com/crossplane/crossplane-runtime/v2/pkg/xpkg/parser"
	"github.com/spf13/afero"
)

const right = "apiVersion: apiextensions.crossplane.io/v1\nkind: Composition\nmetadata: {name: x}\nspec: {mode: Pipeline}\n"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// parse is what is said of three files of which one is wrong.
func parse(name, content string) string {
	fs := afero.NewMemMapFs()
	for _, n := range []string{"a.yaml", "b.yaml", "c.yaml"} {
		c := right
		if n == name {
			c = content
		}
		if err := afero.WriteFile(fs, "/pkg/"+n, []byte(c), 0o600); err != nil {
			panic(err)
		}
	}
	ctx := context.Background()
	files := must(parser.NewFsBackend(fs, parser.FsDir("/pkg"), parser.FsFilters(parser.SkipDirs(), parser.SkipNotYAML())).Init(ctx))
	_, err := parser.New(must(xpkg.BuildMetaScheme()), must(xpkg.BuildObjectScheme())).Parse(ctx, files)
	if err != nil {
		return err.Error()
	}
	return "nothing"
}

func main() {
	changed := parse("none.yaml", "") != "nothing"
	for _, c := range []struct{ wrong, named string }{{"a.yaml", "b.yaml"}, {"b.yaml", "c.yaml"}, {"c.yaml", "c.yaml"}} {
		for what, content := range map[string]string{"kind": strings.Replace(right, "Composition", "Compostion", 1), "syntax": right + "more: [\n"} {
			said := parse(c.wrong, content)
			fmt.Printf("wrong %s in %s: %s\n", what, c.wrong, said)
			changed = changed || !strings.Contains(said, "path:/pkg/"+c.named)
		}
	}
	if changed {
		fmt.Println("CHANGED: it is not as this finding says")
		os.Exit(1)
	}
}
G
go mod init finding >/dev/null 2>&1
go get github.com/crossplane/crossplane-runtime/v2@v2.4.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go list -m github.com/crossplane/crossplane-runtime/v2
go run .
echo "seen again: crossplane-runtime v2.4.0"
