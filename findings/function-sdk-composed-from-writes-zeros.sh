#!/usr/bin/env bash
# A Crossplane function that composes a typed Kubernetes object sends fields that nobody
# wrote, and so becomes their owner under server-side apply.
#
# Seen with github.com/crossplane/function-sdk-go v0.7.1 (resource/composed.From): of a Deployment only name, selector and one
# container were set. It goes out with minReadySeconds: 0, paused: false, hostNetwork: false,
# stdin: false, metadata.generation: 0 and a status of six zeros, though all of these fields say
# omitempty and encoding/json leaves them out.
#
# So: compose unstructured objects, or remove what you didn't mean before you hand them on;
# status above all, which is not a function's to say.
# Needs: go. Takes minutes on an empty cache.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/crossplane/function-sdk-go/resource/composed"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func main() {
	if err := appsv1.AddToScheme(composed.Scheme); err != nil {
		panic(err)
	}
	labels := map[string]string{"app": "web"}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels = labels
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "web", Image: "example.org/web:1"}}
	cd, err := composed.From(d)
	if err != nil {
		panic(err)
	}
	b, err := json.Marshal(cd.Object)
	if err != nil {
		panic(err)
	}
	fmt.Println("composed.From:", string(b))
	plain, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	fmt.Println("encoding/json:", string(plain))
	for _, zero := range []string{`"minReadySeconds":0`, `"paused":false`, `"hostNetwork":false`, `"unavailableReplicas":0`} {
		if strings.Contains(string(b), zero) && !strings.Contains(string(plain), zero) {
			continue
		}
		fmt.Println("CHANGED: it is not as this finding says")
		os.Exit(1)
	}
}
G
go mod init finding >/dev/null 2>&1
go get github.com/crossplane/function-sdk-go@v0.7.1 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run .
echo "seen again: function-sdk-go v0.7.1"
