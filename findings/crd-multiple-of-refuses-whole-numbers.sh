#!/usr/bin/env bash
# A CRD whose schema wants amounts in whole cents (multipleOf: 0.01) refuses one dollar, and
# many amounts that are whole cents.
#
# Seen with k8s.io/apiextensions-apiserver v0.36.4, whose validation an API server runs on every custom
# resource. A number without a point is an integer there, and the factor is cut to one, too: of 1 it says
# that the factor must be positive, and is 0. 1.0 passes. Of fractions 1.5 and 0.07 pass; 8.2, 19.99
# and 0.29 don't, because of binary fractions.
#
# So: keep money in a CRD as an integer of cents, or as a string with a pattern.
# Needs: go. Takes minutes on an empty cache.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"fmt"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/json"
)

func main() {
	cents := 0.01
	validator, _, err := validation.NewSchemaValidator(&apiextensions.JSONSchemaProps{Type: "number", MultipleOf: &cents})
	if err != nil {
		panic(err)
	}
	changed := false
	for _, c := range []struct {
		amount string
		passes bool
	}{{"1", false}, {"1.0", true}, {"1.5", true}, {"8.2", false}, {"0.07", true}, {"100", false}, {"19.99", false}, {"0.29", false}, {"1.13", false}} {
		var amount any
		if err := json.Unmarshal([]byte(c.amount), &amount); err != nil {
			panic(err)
		}
		errs := validation.ValidateCustomResource(nil, amount, validator)
		fmt.Printf("%-6s %v\n", c.amount, errs)
		changed = changed || (len(errs) == 0) != c.passes
	}
	if changed {
		fmt.Println("CHANGED: it is not as this finding says")
		os.Exit(1)
	}
}
G
go mod init finding >/dev/null 2>&1
go get k8s.io/apiextensions-apiserver@v0.36.4 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go list -m k8s.io/apiextensions-apiserver
go run .
echo "seen again: apiextensions-apiserver v0.36.4"
