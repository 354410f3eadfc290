package v1alpha1

import (
	"fmt"
	"regexp"
	"strings"
)

// imageReference is how runtimes read an image: what isn't one is taken by the API
// server, and the pod never starts.
var imageReference = regexp.MustCompile(`^(([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(:[0-9]+)?/)?` +
	`[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?$`)

func validateImage(field, image string) error {
	if strings.TrimSpace(image) != image {
		return fmt.Errorf("%s %q must not have leading or trailing whitespace", field, image)
	}
	if !imageReference.MatchString(image) {
		return fmt.Errorf("%s %q names no image: it must be [registry/]path[:tag][@sha256:digest], without a scheme and with the path in small letters", field, image)
	}
	return nil
}

// podSecurityVersion is a version of the Pod Security Standards.
var podSecurityVersion = regexp.MustCompile(`^(latest|v1\.(0|[1-9][0-9]*))$`)

// validatePodSecurityLabels refuses what Pod Security's admission refuses a namespace
// for.
func validatePodSecurityLabels(labels map[string]string) error {
	for _, l := range sortedKeys(labels) {
		mode, found := strings.CutPrefix(l, "pod-security.kubernetes.io/")
		if !found {
			continue
		}
		mode, version := strings.CutSuffix(mode, "-version")
		switch v := labels[l]; {
		case mode != "enforce" && mode != "audit" && mode != "warn":
		case version && !podSecurityVersion.MatchString(v):
			return fmt.Errorf("namespace.labels[%s] is %q: it must be latest or a version such as v1.35", l, v)
		case !version && v != string(PodSecurityRestricted) && v != string(PodSecurityBaseline) && v != string(PodSecurityPrivileged):
			return fmt.Errorf("namespace.labels[%s] is %q: it must be %s, %s or %s", l, v, PodSecurityRestricted, PodSecurityBaseline, PodSecurityPrivileged)
		}
	}
	return nil
}
