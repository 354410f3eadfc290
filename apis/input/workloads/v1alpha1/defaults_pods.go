package v1alpha1

import (
	"cmp"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"whisperops.io/functions/apis/v1alpha1"
)

// The rules below are the API server's own, as far as its libraries have them
// (k8s.io/apimachinery); what it keeps in k8s.io/kubernetes is written out, and
// TestPlatformNeighbours in hack/validate holds the two against each other. A pod that
// is refused after its Object was taken would leave an order that never comes up.

// over returns p with what is stated in q laid over it.
func (p PodTemplate) over(q PodTemplate) PodTemplate {
	merge := func(a, b map[string]string) map[string]string {
		if len(a)+len(b) == 0 {
			return nil
		}
		out := maps.Clone(a)
		if out == nil {
			out = map[string]string{}
		}
		maps.Copy(out, b)
		return out
	}
	out := PodTemplate{
		Labels:                    merge(p.Labels, q.Labels),
		Annotations:               merge(p.Annotations, q.Annotations),
		NodeSelector:              merge(p.NodeSelector, q.NodeSelector),
		ImagePullSecrets:          slices.Clone(p.ImagePullSecrets),
		ImagePullPolicy:           cmp.Or(q.ImagePullPolicy, p.ImagePullPolicy),
		Tolerations:               append(slices.Clone(p.Tolerations), q.Tolerations...),
		TopologySpreadConstraints: append(slices.Clone(p.TopologySpreadConstraints), q.TopologySpreadConstraints...),
		PriorityClassName:         cmp.Or(q.PriorityClassName, p.PriorityClassName),
		RuntimeClassName:          cmp.Or(q.RuntimeClassName, p.RuntimeClassName),
		QoSClass:                  cmp.Or(q.QoSClass, p.QoSClass),
		RunAs:                     cmp.Or(q.RunAs, p.RunAs),
		Affinity:                  cmp.Or(q.Affinity, p.Affinity),
		Proxy:                     cmp.Or(q.Proxy, p.Proxy),
		CABundle:                  cmp.Or(q.CABundle, p.CABundle),
	}
	for _, s := range q.ImagePullSecrets {
		if !slices.Contains(out.ImagePullSecrets, s) {
			out.ImagePullSecrets = append(out.ImagePullSecrets, s)
		}
	}
	for _, e := range p.Env {
		if !slices.ContainsFunc(q.Env, func(o corev1.EnvVar) bool { return o.Name == e.Name }) {
			out.Env = append(out.Env, e)
		}
	}
	out.Env = append(out.Env, q.Env...)
	if p.Resources != nil || q.Resources != nil {
		r := Resources{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
		for _, from := range []*Resources{p.Resources, q.Resources} {
			if from != nil {
				maps.Copy(r.Requests, from.Requests)
				maps.Copy(r.Limits, from.Limits)
			}
		}
		out.Resources = &r
	}
	return out
}

// PodTemplateOf returns what the input says of one kind of pod, whose own block is
// given.
func (in *RenderWorkloadsInput) PodTemplateOf(own PodTemplate) PodTemplate {
	t := in.PodTemplate.over(own)
	if t.RunAs == "" {
		t.RunAs = RunAsNonroot
		if in.Network.DNSNamespace == openShiftDNS {
			t.RunAs = RunAsPlatform
		}
	}
	return t
}

// openShiftDNS is the namespace of OpenShift's DNS, a name that OpenShift keeps for
// itself.
const openShiftDNS = "openshift-dns"

// reservedLabels select pods; those of our own domain say whose they are.
var reservedLabels = []string{v1alpha1.LabelName, "app", "kagent"}

// reservedEnv is what containers have by contract, and what kagent sets behind our
// back: two entries of one name are refused by server-side apply.
var reservedEnv = []string{
	"HOME", "PORT", "HOST",
	"DATASET_GCS_PATH", "DATASET_NAME", "DATASET_PATH", "OUTPUT_BUCKET", "EXECUTION_TIMEOUT_SECONDS", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT",
	"AGENT_NAME", "AGENT_NAMESPACE", "AGENT_DESCRIPTION", "DATASET_DISPLAY_NAME", "PLANNER_URL",
	"KAGENT_NAME", "KAGENT_NAMESPACE", "KAGENT_URL",
	"GOOGLE_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_CLOUD_LOCATION", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL",
}

// ProxyEnv and CAEnv are the variables that Proxy and CABundle set.
var (
	ProxyEnv = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
	CAEnv    = []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"}
)

// validatePods says what of the pods can't be used, or nil.
func (in *RenderWorkloadsInput) validatePods() error { //nolint:gocognit // one block after the other
	type block struct {
		name   string
		pod    PodTemplate
		kagent bool // made by kagent, which knows fewer fields
		fixed  bool // memory is compute-tuning's
	}
	blocks := []block{
		{name: v1alpha1.Planner, pod: in.Planner, kagent: true}, {name: v1alpha1.Worker, pod: in.Worker, kagent: true},
		{name: "sandbox", pod: in.Sandbox, fixed: true}, {name: "chatFrontend", pod: in.ChatFrontend},
	}
	if errs := in.PodTemplate.validate(field.NewPath("podTemplate")); len(errs) > 0 {
		return errs.ToAggregate()
	}
	bundle := ""
	for _, b := range blocks {
		path := field.NewPath(b.name)
		if errs := b.pod.validate(path); len(errs) > 0 {
			return errs.ToAggregate()
		}
		if b.kagent {
			for _, f := range []struct {
				field string
				set   bool
			}{
				{"topologySpreadConstraints", len(b.pod.TopologySpreadConstraints) > 0},
				{"priorityClassName", b.pod.PriorityClassName != ""},
				{"runtimeClassName", b.pod.RuntimeClassName != ""},
			} {
				if f.set {
					return fmt.Errorf("%s can't be set: kagent makes the agents' pods, and its Agents have no such field", path.Child(f.field))
				}
			}
		}
		if r := b.pod.Resources; b.fixed && r != nil {
			for kind, list := range map[string]corev1.ResourceList{"requests": r.Requests, "limits": r.Limits} {
				if _, ok := list[corev1.ResourceMemory]; ok {
					return fmt.Errorf("%s can't be set: the sandbox's memory follows from its dataset (compute-tuning); qosClass Guaranteed requests all of it", path.Child("resources", kind, "memory"))
				}
			}
		}
		merged := in.PodTemplateOf(b.pod)
		if errs := merged.validate(path); len(errs) > 0 { // what two blocks make together
			return errs.ToAggregate()
		}
		if c := merged.CABundle; c != nil && c.PEM != "" {
			if bundle != "" && c.PEM != bundle {
				return fmt.Errorf("%s is another one than a program before it has: one ConfigMap holds the certificates of all four; name another with configMap, or put both into podTemplate.caBundle.pem", path.Child("caBundle", "pem"))
			}
			bundle = c.PEM
		}
	}
	return nil
}

func (p PodTemplate) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, metavalidation.ValidateLabels(p.Labels, path.Child("labels"))...)
	errs = append(errs, validatePodAnnotations(p.Annotations, path.Child("annotations"))...)
	for _, k := range sortedKeys(p.Labels) {
		if slices.Contains(reservedLabels, k) || strings.HasPrefix(k, "whisperops.io/") {
			errs = append(errs, field.Forbidden(path.Child("labels").Key(k), "it selects the pods, or says whose they are"))
		}
	}
	for i, s := range p.ImagePullSecrets {
		if slices.Contains(p.ImagePullSecrets[:i], s) {
			errs = append(errs, field.Duplicate(path.Child("imagePullSecrets").Index(i).Child("name"), s.Name))
		}
		for _, m := range apivalidation.NameIsDNSSubdomain(s.Name, false) {
			errs = append(errs, field.Invalid(path.Child("imagePullSecrets").Index(i).Child("name"), s.Name, m))
		}
	}
	switch p.ImagePullPolicy {
	case "", corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
	default:
		errs = append(errs, field.NotSupported(path.Child("imagePullPolicy"), p.ImagePullPolicy, []corev1.PullPolicy{corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever}))
	}
	switch p.QoSClass {
	case "", corev1.PodQOSBurstable, corev1.PodQOSGuaranteed:
	default:
		errs = append(errs, field.NotSupported(path.Child("qosClass"), p.QoSClass, []corev1.PodQOSClass{corev1.PodQOSBurstable, corev1.PodQOSGuaranteed}))
	}
	switch p.RunAs {
	case "", RunAsNonroot, RunAsPlatform:
	default:
		errs = append(errs, field.NotSupported(path.Child("runAs"), p.RunAs, []RunAs{RunAsNonroot, RunAsPlatform}))
	}
	for _, n := range []struct{ field, value string }{{"priorityClassName", p.PriorityClassName}, {"runtimeClassName", p.RuntimeClassName}} {
		if n.value != "" {
			for _, m := range apivalidation.NameIsDNSSubdomain(n.value, false) {
				errs = append(errs, field.Invalid(path.Child(n.field), n.value, m))
			}
		}
	}
	errs = append(errs, metavalidation.ValidateLabels(p.NodeSelector, path.Child("nodeSelector"))...)
	errs = append(errs, validateTolerations(p.Tolerations, path.Child("tolerations"))...)
	errs = append(errs, validateAffinity(p.Affinity, path.Child("affinity"))...)
	errs = append(errs, validateSpread(p.TopologySpreadConstraints, path.Child("topologySpreadConstraints"))...)
	errs = append(errs, p.Resources.validate(path.Child("resources"))...)
	errs = append(errs, validateEnv(p.Env, p, path.Child("env"))...)
	errs = append(errs, p.Proxy.validate(path.Child("proxy"))...)
	return append(errs, p.CABundle.validate(path.Child("caBundle"))...)
}

// oldFields are annotations that were fields before there were fields, with what they
// name today.
var oldFields = []struct{ prefix, is string }{
	{"container.apparmor.security.beta.kubernetes.io/", "it names a container, and each program's is another; all run with the runtime's own profile"},
	{"container.seccomp.security.alpha.kubernetes.io/", "all pods have the seccomp profile RuntimeDefault"},
	{"seccomp.security.alpha.kubernetes.io/", "all pods have the seccomp profile RuntimeDefault"},
	{"scheduler.alpha.kubernetes.io/tolerations", "set tolerations"},
	{"scheduler.alpha.kubernetes.io/affinity", "set affinity"},
	{corev1.MirrorPodAnnotationKey, "it makes a pod the mirror of a node's own"},
}

// validatePodAnnotations knows what the API server looks for in a pod's annotations.
func validatePodAnnotations(annotations map[string]string, path *field.Path) field.ErrorList {
	errs := validateAnnotations(annotations, path)
	for _, k := range sortedKeys(annotations) {
		for _, o := range oldFields {
			if strings.HasPrefix(k, o.prefix) {
				errs = append(errs, field.Forbidden(path.Key(k), o.is))
			}
		}
		if v := annotations[k]; k == corev1.PodDeletionCost {
			if n, err := strconv.ParseInt(v, 10, 32); err != nil || strconv.FormatInt(n, 10) != v {
				errs = append(errs, field.Invalid(path.Key(k), v, "must be a 32bit integer"))
			}
		}
	}
	return errs
}

func (p *Proxy) validate(path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	var errs field.ErrorList
	if p.HTTP == "" && p.HTTPS == "" {
		errs = append(errs, field.Required(path, "it needs http or https, the URL of the proxy"))
	}
	for _, u := range []struct{ field, value string }{{"http", p.HTTP}, {"https", p.HTTPS}} {
		if u.value == "" {
			continue
		}
		if err := validateURL(path.Child(u.field).String(), u.value); err != nil {
			errs = append(errs, &field.Error{Type: field.ErrorTypeInvalid, Field: path.Child(u.field).String(), BadValue: "(not shown)", Detail: strings.TrimPrefix(err.Error(), path.Child(u.field).String()+" ")})
		}
	}
	for i, n := range p.NoProxy {
		if why := wrongNoProxy(n); why != "" {
			errs = append(errs, field.Invalid(path.Child("noProxy").Index(i), n, why))
		}
	}
	return errs
}

// wrongNoProxy says what is wrong with an entry that programs would pass over without a
// word, or "".
func wrongNoProxy(n string) string {
	switch _, _, err := net.ParseCIDR(n); {
	case n == "" || strings.ContainsAny(n, " ,;\t\n"):
		return "must be one host, .domain or CIDR"
	case strings.Contains(n, "://"):
		return "must be a host without a scheme: nothing matches a URL"
	case n == "*":
		return "would switch the proxy off: leave proxy out"
	case strings.ContainsRune(n, '*'):
		return "must not hold *, which half of the programs don't know: write .example.org"
	case strings.ContainsRune(n, '/') && err != nil:
		return "must be one host, .domain or CIDR: this is no CIDR, such as 10.0.0.0/8"
	}
	return ""
}

func (c *CABundle) validate(path *field.Path) field.ErrorList {
	switch {
	case c == nil:
		return nil
	case (c.PEM == "") == (c.ConfigMap == nil):
		return field.ErrorList{field.Required(path, "it needs either pem or configMap")}
	case c.PEM != "":
		rest, found := []byte(c.PEM), 0
		for {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				break
			}
			if b.Type != "CERTIFICATE" {
				return field.ErrorList{field.Forbidden(path.Child("pem"), "it holds a "+b.Type+": certificates alone belong into it")}
			}
			if !isSequence(b.Bytes) {
				continue // its armour is whole, and what is in it is cut off
			}
			found++
		}
		if begun := strings.Count(c.PEM, "-----BEGIN "); begun > 0 && found < begun {
			return field.ErrorList{&field.Error{Type: field.ErrorTypeInvalid, Field: path.Child("pem").String(), BadValue: "(not shown)", Detail: fmt.Sprintf("%d of its %d certificates are damaged: programs would leave them out without a word", begun-found, begun)}}
		}
		if found == 0 {
			return field.ErrorList{&field.Error{Type: field.ErrorTypeInvalid, Field: path.Child("pem").String(), BadValue: "(not shown)", Detail: "must hold certificates in PEM"}}
		}
		if len(c.PEM) > maxBundle {
			return field.ErrorList{field.TooLong(path.Child("pem"), "", maxBundle)}
		}
		return nil
	}
	var errs field.ErrorList
	for _, m := range apivalidation.NameIsDNSSubdomain(c.ConfigMap.Name, false) {
		errs = append(errs, field.Invalid(path.Child("configMap", "name"), c.ConfigMap.Name, m))
	}
	for _, m := range validation.IsConfigMapKey(c.ConfigMap.Key) {
		errs = append(errs, field.Invalid(path.Child("configMap", "key"), c.ConfigMap.Key, m))
	}
	return errs
}

// isSequence says whether bytes are one sequence in DER, as a certificate is, and all of it.
func isSequence(der []byte) bool {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(der, &v)
	return err == nil && len(rest) == 0 && v.Tag == asn1.TagSequence && v.IsCompound
}

// maxBundle keeps the Object that wraps the bundle, and holds it twice, below the
// size of an API object.
const maxBundle = 300 * 1024

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// validateMetadata says what of an object's labels and annotations can't be used.
func validateMetadata(labels, annotations map[string]string, path *field.Path) field.ErrorList {
	errs := metavalidation.ValidateLabels(labels, path.Child("labels"))
	return append(errs, validateAnnotations(annotations, path.Child("annotations"))...)
}

// othersBytes is kept free of what an object's annotations may have, for ours and those
// of controllers.
const othersBytes = 1024

// validateAnnotations says what of annotations can't be used beside others.
func validateAnnotations(annotations map[string]string, path *field.Path) field.ErrorList {
	errs := apivalidation.ValidateAnnotations(annotations, path)
	size := 0
	for k, v := range annotations {
		size += len(k) + len(v)
	}
	if size > apivalidation.TotalAnnotationSizeLimitB-othersBytes && len(errs) == 0 {
		errs = append(errs, field.TooLong(path, "", apivalidation.TotalAnnotationSizeLimitB-othersBytes))
	}
	return errs
}
