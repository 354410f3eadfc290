package edge

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
	"whisperops.io/functions/internal/wire"
)

// A Part is one resource, read in place. Every method takes whatever the request
// holds, garbage and nothing included.
type Part struct{ r wire.Resource }

// Exists says whether the resource is observed at all.
func (p Part) Exists() bool { return p.r.Exists() }

// Value returns the value at a path of map keys, or nil.
func (p Part) Value(path ...string) *structpb.Value { return p.r.Value(path...) }

// Encoded returns the value at a path of map keys as it came, for who compares it with another
// (wire.SameValue): nil where there is none; ok is false where the part came decoded.
func (p Part) Encoded(path ...string) (v []byte, ok bool) { return p.r.Encoded(path...) }

// Into decodes the value at a path of map keys. It ignores fields that it doesn't
// know. Errors name the field, but not the part.
func (p Part) Into(into any, path ...string) error {
	return decode(p.Value(path...).AsInterface(), into)
}

// String returns the string at a path of map keys, or "".
func (p Part) String(path ...string) string { return p.r.Text(path...) }

// Time returns the time at a path of map keys; the zero time when there is none that
// can be read.
func (p Part) Time(path ...string) time.Time {
	text := strings.ToUpper(strings.TrimSpace(p.String(path...)))
	for _, layout := range timeLayouts {
		if at, err := time.Parse(layout, text); err == nil {
			return at
		}
	}
	return time.Time{}
}

// timeLayouts are how providers write times: RFC 3339, and what others take for it. A time
// without a zone is UTC.
var timeLayouts = []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00", time.RFC1123, time.RFC1123Z, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04:05 MST", "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly}

// Strings returns the strings of the list at a path of map keys.
func (p Part) Strings(path ...string) []string { return Strings(p.Value(path...)) }

// Kind of the resource, as observed.
func (p Part) Kind() string { return p.String("kind") }

// Group is the API group of the resource, as observed.
func (p Part) Group() string { return groupOf(p.String("apiVersion")) }

// Deleting says whether the resource is being deleted.
func (p Part) Deleting() bool { return p.String("metadata", "deletionTimestamp") != "" }

// Created returns when the resource was created; the zero time when that isn't known.
func (p Part) Created() time.Time { return p.Time("metadata", "creationTimestamp") }

// Condition returns the status of a condition of the resource ("True", "False",
// "Unknown", or "" when it has none) and since when it has been so (zero when
// that isn't said).
func (p Part) Condition(typ string) (status string, since time.Time) {
	c := p.condition(typ)
	// An unreadable time is no time: nothing may depend on it then.
	since, err := time.Parse(time.RFC3339, c["lastTransitionTime"].GetStringValue())
	if err != nil {
		since = time.Time{}
	}
	return c["status"].GetStringValue(), since
}

// ConditionOf returns the status of a condition of the resource, and the generation
// that it judges: 0 where that isn't said.
func (p Part) ConditionOf(typ string) (status string, generation float64) {
	c := p.condition(typ)
	generation, _ = Number(c["observedGeneration"])
	return c["status"].GetStringValue(), generation
}

// condition returns the fields of a condition of the resource.
func (p Part) condition(typ string) map[string]*structpb.Value {
	return p.r.Element("type", typ, "status", "conditions").GetFields()
}

// Said returns a condition of the resource as it stands, without its times; false when
// it has none that Crossplane would take for one of an XR's.
func (p Part) Said(typ string) (metav1.Condition, bool) {
	for _, v := range p.Value("status", "conditions").GetListValue().GetValues() {
		c := v.GetStructValue().GetFields()
		if c["type"].GetStringValue() != typ {
			continue
		}
		is := metav1.Condition{
			Type: typ, Status: metav1.ConditionStatus(c["status"].GetStringValue()),
			Reason: c["reason"].GetStringValue(), Message: c["message"].GetStringValue(),
		}
		known := is.Status == metav1.ConditionTrue || is.Status == metav1.ConditionFalse || is.Status == metav1.ConditionUnknown
		return is, known && is.Reason != ""
	}
	return metav1.Condition{}, false
}

// Message returns the message of a condition of the resource, or "".
func (p Part) Message(typ string) string {
	return p.condition(typ)["message"].GetStringValue()
}

// Ready says whether the resource's condition Ready is True.
func (p Part) Ready() bool {
	return p.r.ElementText("type", v1alpha1.ConditionReady, "status", "status", "conditions") == "True"
}

// HasConnectionDetail says whether the resource's connection details hold a value
// under key. The value itself is a secret, and never leaves this method.
func (p Part) HasConnectionDetail(key string) bool { return len(p.r.ConnectionDetail(key)) > 0 }

// OpenedBucket returns the bucket that an observed grant opens, or "" when there
// is no grant, or none that can be read.
func OpenedBucket(grant Part) string {
	switch input.GrantKind(grant.Kind()) {
	case input.GrantProjectIAMMember:
		return manifest.BucketOpenedBy(grant.String("spec", "forProvider", "condition", "expression"))
	case input.GrantBucketIAMMember:
		return grant.String("spec", "forProvider", "bucket")
	}
	return ""
}

func groupOf(apiVersion string) string {
	if i := strings.LastIndex(apiVersion, "/"); i >= 0 {
		return apiVersion[:i]
	}
	return ""
}
