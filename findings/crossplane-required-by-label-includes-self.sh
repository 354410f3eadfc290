#!/usr/bin/env bash
# A function that asks for resources by a label which its own XR carries doubles the looks at that XR: each write of the
# XR's status is a change of something that was required, and so one more look.
#
# Seen with github.com/crossplane/crossplane/v2 v2.4.0, which watches what functions require, as it watches what XRs compose (realtime
# compositions, on by default). Its tracker maps a change to all XRs whose requirement matches, by kind and labels or name,
# and does not leave out the XR that asked. crossplane.io/composite is a label that an XR has itself: Crossplane writes it. A
# requirement by name wakes the XR for every write of that object's status likewise; there is no predicate on its generation.
# On a control plane, XRs whose step asked so were looked at 118 times for 60 writes of their status.
#
# So: ask by name, or by labels that the XR itself doesn't have; and count a status that moves with every look as two looks.
# Needs: go. Runs Crossplane's own tracker in a copy of its module.
set -euo pipefail
dir=$(mktemp -d); trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
cd "$dir"
version=v2.4.0
from=$(go mod download -json github.com/crossplane/crossplane/v2@$version | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
cp -r "$from" crossplane && chmod -R u+w crossplane && cd crossplane
cat >internal/controller/apiextensions/composite/dependency/finding_test.go <<'GO'
package dependency

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestFinding(t *testing.T) {
	kind := schema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "XBudget"}
	labels := map[string]string{"crossplane.io/composite": "mine"}
	xr := &unstructured.Unstructured{}
	xr.SetGroupVersionKind(kind)
	xr.SetNamespace("team-a")
	xr.SetName("mine")
	xr.SetLabels(labels)
	tracker := NewInMemory()
	tracker.Track(client.ObjectKeyFromObject(xr), nil, []Requirement{{Step: "decide", Name: "others", Reference: Reference{GVK: kind, Labels: labels}}})
	_ = unstructured.SetNestedField(xr.Object, "1.46", "status", "spent")
	fmt.Println("woken by the XR's own status:", tracker.Dependants(xr))
}
GO
out=$(GOFLAGS=-mod=mod go test -count=1 -run TestFinding -v ./internal/controller/apiextensions/composite/dependency)
grep woken <<<"$out"
[ "$(grep woken <<<"$out")" = "woken by the XR's own status: [team-a/mine]" ] || { echo "CHANGED: it is not as this finding says"; exit 1; }
echo "seen again: crossplane $version"
