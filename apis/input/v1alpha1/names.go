package v1alpha1

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

type promName struct {
	field, value string
	is           func(string) bool
}

func validateNames(names ...promName) error {
	for _, n := range names {
		if !n.is(n.value) {
			return fmt.Errorf("%s %q must be a name that Prometheus knows: letters, digits, underscores and dots, not starting with a digit", n.field, n.value)
		}
	}
	return nil
}

// metricName says whether s can be a metric's name: a dotted one, as OpenTelemetry
// has them, is written into queries in quotes.
func metricName(s string) bool { return labelName(strings.ReplaceAll(s, ":", "_")) }

// labelName is metricName for labels, which have no colons.
func labelName(s string) bool {
	for i, c := range s {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c != '.' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// LabelName says whether s can be a label's name.
func LabelName(s string) bool { return labelName(s) }

// ValidateNamespace says what of a namespace's name can't be used, or nil.
func ValidateNamespace(field, name, is string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s is empty: %s", field, is)
	case len(validation.IsDNS1123Label(name)) > 0:
		return fmt.Errorf("%s %q can't be a namespace's name: at most 63 lower-case letters, digits and dashes, no dash at either end", field, name)
	}
	return nil
}

// ValidateObjectName says what of the name of an object that anybody may have made can't
// be used, or nil.
func ValidateObjectName(field, name, is string) error {
	if name == "" {
		return fmt.Errorf("%s is empty: %s", field, is)
	}
	if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
		return fmt.Errorf("%s %q can't be an object's name: %s", field, name, errs[0])
	}
	return nil
}
