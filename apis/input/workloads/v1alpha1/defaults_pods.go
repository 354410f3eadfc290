package v1alpha1

import (
	"cmp"
	"encoding/pem"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"whisperops.io/functions/apis/v1alpha1"
)

// The rules below are the API server's own, as far as its libraries have them
// (k8s.io/apimachinery); what it keeps in k8s.io/kubernetes is written out, and
// hack/validate compares the two. A pod that is refused after its Object was taken
// would leave an order that never comes up.

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

// reservedLabels select pods, or say whose they are.
var reservedLabels = []string{v1alpha1.LabelName, "app", "kagent", v1alpha1.LabelAgent, v1alpha1.LabelWorkerUID}

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
func (in *RenderWorkloadsInput) validatePods() error {
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
	}
	return nil
}

func (p PodTemplate) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, metavalidation.ValidateLabels(p.Labels, path.Child("labels"))...)
	errs = append(errs, apivalidation.ValidateAnnotations(p.Annotations, path.Child("annotations"))...)
	for _, k := range sortedKeys(p.Labels) {
		if slices.Contains(reservedLabels, k) {
			errs = append(errs, field.Forbidden(path.Child("labels").Key(k), "it selects the pods, or says whose they are"))
		}
	}
	for i, s := range p.ImagePullSecrets {
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

func validateTolerations(ts []corev1.Toleration, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, t := range ts {
		at := path.Index(i)
		if t.Key != "" {
			errs = append(errs, metavalidation.ValidateLabelName(t.Key, at.Child("key"))...)
		}
		if t.Key == "" && t.Operator != corev1.TolerationOpExists {
			errs = append(errs, field.Invalid(at.Child("operator"), t.Operator, "operator must be Exists when key is empty, which means all taints"))
		}
		if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
			errs = append(errs, field.Invalid(at.Child("effect"), t.Effect, "effect must be NoExecute when tolerationSeconds is set"))
		}
		switch t.Operator {
		case "", corev1.TolerationOpEqual:
			for _, m := range validation.IsValidLabelValue(t.Value) {
				errs = append(errs, field.Invalid(at.Child("value"), t.Value, m))
			}
		case corev1.TolerationOpExists:
			if t.Value != "" {
				errs = append(errs, field.Invalid(at.Child("value"), t.Value, "value must be empty when operator is Exists"))
			}
		default:
			errs = append(errs, field.NotSupported(at.Child("operator"), t.Operator, []corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists}))
		}
		switch t.Effect {
		case "", corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
		default:
			errs = append(errs, field.NotSupported(at.Child("effect"), t.Effect, []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}))
		}
	}
	return errs
}

func validateAffinity(a *corev1.Affinity, path *field.Path) field.ErrorList {
	if a == nil {
		return nil
	}
	var errs field.ErrorList
	if n := a.NodeAffinity; n != nil {
		at := path.Child("nodeAffinity")
		if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			terms := at.Child("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
			if len(r.NodeSelectorTerms) == 0 {
				errs = append(errs, field.Required(terms, "must have at least one node selector term"))
			}
			for i, t := range r.NodeSelectorTerms {
				errs = append(errs, validateNodeTerm(t, terms.Index(i))...)
			}
		}
		for i, p := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			pref := at.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i)
			errs = append(errs, validateWeight(p.Weight, pref)...)
			errs = append(errs, validateNodeTerm(p.Preference, pref.Child("preference"))...)
		}
	}
	type terms struct {
		name      string
		required  []corev1.PodAffinityTerm
		preferred []corev1.WeightedPodAffinityTerm
	}
	var pods []terms
	if p := a.PodAffinity; p != nil {
		pods = append(pods, terms{"podAffinity", p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution})
	}
	if p := a.PodAntiAffinity; p != nil {
		pods = append(pods, terms{"podAntiAffinity", p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution})
	}
	for _, t := range pods {
		at := path.Child(t.name)
		for i, r := range t.required {
			errs = append(errs, validatePodTerm(r, at.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i))...)
		}
		for i, p := range t.preferred {
			pref := at.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i)
			errs = append(errs, validateWeight(p.Weight, pref)...)
			errs = append(errs, validatePodTerm(p.PodAffinityTerm, pref.Child("podAffinityTerm"))...)
		}
	}
	return errs
}

func validateWeight(w int32, path *field.Path) field.ErrorList {
	if w < 1 || w > 100 {
		return field.ErrorList{field.Invalid(path.Child("weight"), w, "must be in the range 1-100")}
	}
	return nil
}

func validateNodeTerm(t corev1.NodeSelectorTerm, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, r := range t.MatchExpressions {
		at := path.Child("matchExpressions").Index(i)
		errs = append(errs, validateNodeRequirement(r, at)...)
		errs = append(errs, metavalidation.ValidateLabelName(r.Key, at.Child("key"))...)
	}
	for i, r := range t.MatchFields {
		at := path.Child("matchFields").Index(i)
		if r.Key != "metadata.name" {
			errs = append(errs, field.Invalid(at.Child("key"), r.Key, "not a valid field selector key: metadata.name alone is"))
		}
		if (r.Operator != corev1.NodeSelectorOpIn && r.Operator != corev1.NodeSelectorOpNotIn) || len(r.Values) != 1 {
			errs = append(errs, field.Invalid(at, r.Operator, "must be In or NotIn with one value"))
		}
	}
	return errs
}

func validateNodeRequirement(r corev1.NodeSelectorRequirement, path *field.Path) field.ErrorList {
	values := path.Child("values")
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			return field.ErrorList{field.Required(values, "must be specified when operator is In or NotIn")}
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			return field.ErrorList{field.Forbidden(values, "may not be specified when operator is Exists or DoesNotExist")}
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			return field.ErrorList{field.Required(values, "must be specified single value when operator is Lt or Gt")}
		}
	default:
		return field.ErrorList{field.Invalid(path.Child("operator"), r.Operator, "not a valid selector operator")}
	}
	return nil
}

func validatePodTerm(t corev1.PodAffinityTerm, path *field.Path) field.ErrorList {
	errs := metavalidation.ValidateLabelSelector(t.LabelSelector, metavalidation.LabelSelectorValidationOptions{}, path.Child("labelSelector"))
	errs = append(errs, metavalidation.ValidateLabelSelector(t.NamespaceSelector, metavalidation.LabelSelectorValidationOptions{}, path.Child("namespaceSelector"))...)
	for i, n := range t.Namespaces {
		for _, m := range apivalidation.ValidateNamespaceName(n, false) {
			errs = append(errs, field.Invalid(path.Child("namespaces").Index(i), n, m))
		}
	}
	if t.TopologyKey == "" {
		return append(errs, field.Required(path.Child("topologyKey"), "can not be empty"))
	}
	return append(errs, metavalidation.ValidateLabelName(t.TopologyKey, path.Child("topologyKey"))...)
}

func validateSpread(cs []corev1.TopologySpreadConstraint, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, c := range cs {
		at := path.Index(i)
		if c.MaxSkew < 1 {
			errs = append(errs, field.Invalid(at.Child("maxSkew"), c.MaxSkew, "must be greater than zero"))
		}
		if c.TopologyKey == "" {
			errs = append(errs, field.Required(at.Child("topologyKey"), "can not be empty"))
		} else {
			errs = append(errs, metavalidation.ValidateLabelName(c.TopologyKey, at.Child("topologyKey"))...)
		}
		if c.WhenUnsatisfiable != corev1.DoNotSchedule && c.WhenUnsatisfiable != corev1.ScheduleAnyway {
			errs = append(errs, field.NotSupported(at.Child("whenUnsatisfiable"), c.WhenUnsatisfiable, []corev1.UnsatisfiableConstraintAction{corev1.DoNotSchedule, corev1.ScheduleAnyway}))
		}
		if pair := c.TopologyKey + " " + string(c.WhenUnsatisfiable); seen[pair] {
			errs = append(errs, field.Duplicate(at.Child("{topologyKey, whenUnsatisfiable}"), pair))
		} else {
			seen[pair] = true
		}
		if c.MinDomains != nil && (*c.MinDomains < 1 || c.WhenUnsatisfiable != corev1.DoNotSchedule) {
			errs = append(errs, field.Invalid(at.Child("minDomains"), *c.MinDomains, "must be greater than zero, and only with whenUnsatisfiable DoNotSchedule"))
		}
		for _, policy := range []struct {
			field string
			value *corev1.NodeInclusionPolicy
		}{{"nodeAffinityPolicy", c.NodeAffinityPolicy}, {"nodeTaintsPolicy", c.NodeTaintsPolicy}} {
			if v := policy.value; v != nil && *v != corev1.NodeInclusionPolicyHonor && *v != corev1.NodeInclusionPolicyIgnore {
				errs = append(errs, field.NotSupported(at.Child(policy.field), *v, []corev1.NodeInclusionPolicy{corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore}))
			}
		}
		errs = append(errs, metavalidation.ValidateLabelSelector(c.LabelSelector, metavalidation.LabelSelectorValidationOptions{}, at.Child("labelSelector"))...)
		for j, k := range c.MatchLabelKeys {
			errs = append(errs, metavalidation.ValidateLabelName(k, at.Child("matchLabelKeys").Index(j))...)
		}
	}
	return errs
}

func (r *Resources) validate(path *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	for kind, list := range map[string]corev1.ResourceList{"requests": r.Requests, "limits": r.Limits} {
		for _, name := range sortedKeys(list) {
			at, q := path.Child(kind).Key(string(name)), list[name]
			if q.Sign() < 0 {
				errs = append(errs, field.Invalid(at, q.String(), "must be greater than or equal to 0"))
			}
			switch name {
			case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
				continue
			default:
			}
			if strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
				continue
			}
			// Anything else is a device: somebody's domain, and whole ones.
			if msgs := validation.IsQualifiedName(string(name)); len(msgs) > 0 || !strings.Contains(string(name), "/") || strings.HasPrefix(string(name), "requests.") {
				errs = append(errs, field.Invalid(at, name, "must be cpu, memory, ephemeral-storage, hugepages-<size> or a device's name such as nvidia.com/gpu"))
			} else if q.MilliValue()%1000 != 0 {
				errs = append(errs, field.Invalid(at, q.String(), "must be an integer"))
			}
		}
	}
	for _, name := range sortedKeys(r.Requests) {
		request := r.Requests[name]
		limit, ok := r.Limits[name]
		switch device := strings.Contains(string(name), "/"); {
		case ok && request.Cmp(limit) > 0:
			errs = append(errs, field.Invalid(path.Child("requests").Key(string(name)), request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String())))
		case device && (!ok || request.Cmp(limit) != 0):
			errs = append(errs, field.Invalid(path.Child("requests").Key(string(name)), request.String(), "must be equal to its limit"))
		}
	}
	return errs
}

func validateEnv(vars []corev1.EnvVar, p PodTemplate, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, e := range vars {
		at := path.Index(i)
		for _, m := range validation.IsEnvVarName(e.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), e.Name, m))
		}
		switch {
		case seen[e.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), e.Name))
		case slices.Contains(reservedEnv, e.Name):
			errs = append(errs, field.Forbidden(at.Child("name"), e.Name+" is set by contract"))
		case p.Proxy != nil && slices.Contains(ProxyEnv, e.Name):
			errs = append(errs, field.Forbidden(at.Child("name"), e.Name+" is set by proxy"))
		case p.CABundle != nil && slices.Contains(CAEnv, e.Name):
			errs = append(errs, field.Forbidden(at.Child("name"), e.Name+" is set by caBundle"))
		}
		seen[e.Name] = true
		if from := e.ValueFrom; from != nil {
			errs = append(errs, validateEnvSource(e, from, at.Child("valueFrom"))...)
		}
	}
	return errs
}

func validateEnvSource(e corev1.EnvVar, from *corev1.EnvVarSource, path *field.Path) field.ErrorList {
	if e.Value != "" {
		return field.ErrorList{field.Invalid(path, "", "may not be specified when `value` is not empty")}
	}
	var errs field.ErrorList
	sources := 0
	key := func(kind, name, key string) {
		sources++
		at := path.Child(kind)
		for _, m := range apivalidation.NameIsDNSSubdomain(name, false) {
			errs = append(errs, field.Invalid(at.Child("name"), name, m))
		}
		for _, m := range validation.IsConfigMapKey(key) {
			errs = append(errs, field.Invalid(at.Child("key"), key, m))
		}
	}
	if r := from.SecretKeyRef; r != nil {
		key("secretKeyRef", r.Name, r.Key)
		if r.Name == v1alpha1.SecretGCPCredentials {
			errs = append(errs, field.Forbidden(path.Child("secretKeyRef", "name"), "it is the sandbox's key, which opens two buckets and nothing else"))
		}
	}
	if r := from.ConfigMapKeyRef; r != nil {
		key("configMapKeyRef", r.Name, r.Key)
	}
	if r := from.FieldRef; r != nil {
		sources++
		known := []string{"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}
		if !slices.Contains(known, r.FieldPath) && !strings.HasPrefix(r.FieldPath, "metadata.labels['") && !strings.HasPrefix(r.FieldPath, "metadata.annotations['") {
			errs = append(errs, field.NotSupported(path.Child("fieldRef", "fieldPath"), r.FieldPath, known))
		}
	}
	if r := from.ResourceFieldRef; r != nil {
		sources++
		known := []string{"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"}
		if !slices.Contains(known, r.Resource) {
			errs = append(errs, field.NotSupported(path.Child("resourceFieldRef", "resource"), r.Resource, known))
		}
	}
	if sources != 1 {
		errs = append(errs, field.Invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"))
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
		if n == "" || strings.ContainsAny(n, " ,\t\n") {
			errs = append(errs, field.Invalid(path.Child("noProxy").Index(i), n, "must be one host, .domain or CIDR"))
		}
	}
	return errs
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
			found++
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

// maxBundle keeps the Object that wraps the bundle, and holds it twice, below the
// size of an API object.
const maxBundle = 300 * 1024

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// validatePeers says what of the peers of a NetworkPolicy rule can't be used, or nil. Beyond the
// API server's rules each names its peers: an empty list means everybody.
func validatePeers(peers []networkingv1.NetworkPolicyPeer, path *field.Path) field.ErrorList {
	if len(peers) == 0 {
		return field.ErrorList{field.Required(path, "an empty list means everybody; name the peers")}
	}
	var errs field.ErrorList
	for i, p := range peers {
		at := path.Index(i)
		selectors := p.PodSelector != nil || p.NamespaceSelector != nil
		switch {
		case p.IPBlock != nil && selectors:
			errs = append(errs, field.Forbidden(at, "may not specify both ipBlock and another peer"))
		case p.IPBlock == nil && !selectors:
			errs = append(errs, field.Required(at, "must specify a peer"))
		case p.IPBlock != nil:
			errs = append(errs, validateIPBlock(*p.IPBlock, at.Child("ipBlock"))...)
		}
		errs = append(errs, metavalidation.ValidateLabelSelector(p.PodSelector, metavalidation.LabelSelectorValidationOptions{}, at.Child("podSelector"))...)
		errs = append(errs, metavalidation.ValidateLabelSelector(p.NamespaceSelector, metavalidation.LabelSelectorValidationOptions{}, at.Child("namespaceSelector"))...)
	}
	return errs
}

// metadataServers are where clouds hand out a node's own credentials.
var metadataServers = []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd20:ce::254")}

func validateIPBlock(b networkingv1.IPBlock, path *field.Path) field.ErrorList {
	whole, err := netip.ParsePrefix(b.CIDR)
	if err != nil || whole != whole.Masked() {
		return field.ErrorList{field.Invalid(path.Child("cidr"), b.CIDR, "must be a CIDR, such as 10.0.0.0/8 or fd00::/8")}
	}
	var errs field.ErrorList
	excepted := func(netip.Addr) bool { return false }
	for i, e := range b.Except {
		p, err := netip.ParsePrefix(e)
		if err != nil || p != p.Masked() || !whole.Contains(p.Addr()) || p.Bits() <= whole.Bits() {
			errs = append(errs, field.Invalid(path.Child("except").Index(i), e, "must be a strict subset of cidr"))
			continue
		}
		before := excepted
		excepted = func(a netip.Addr) bool { return p.Contains(a) || before(a) }
	}
	for _, m := range metadataServers {
		if whole.Bits() < m.BitLen() && whole.Contains(m) && !excepted(m) {
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("it opens the clouds' metadata server %s, which hands out the node's own credentials; except it", m)))
		}
	}
	return errs
}

func validatePorts(ports []networkingv1.NetworkPolicyPort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, p := range ports {
		at := path.Index(i)
		if p.Protocol != nil {
			switch *p.Protocol {
			case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
			default:
				errs = append(errs, field.NotSupported(at.Child("protocol"), *p.Protocol, []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}))
			}
		}
		switch {
		case p.Port == nil && p.EndPort != nil:
			errs = append(errs, field.Required(at.Child("port"), "must be specified when endPort is"))
		case p.Port == nil:
		case p.Port.Type == intstr.Int:
			for _, m := range validation.IsValidPortNum(int(p.Port.IntVal)) {
				errs = append(errs, field.Invalid(at.Child("port"), p.Port.IntVal, m))
			}
			if p.EndPort != nil && (*p.EndPort < p.Port.IntVal || *p.EndPort > 65535) {
				errs = append(errs, field.Invalid(at.Child("endPort"), *p.EndPort, "must be greater than or equal to port, and at most 65535"))
			}
		default:
			if p.EndPort != nil {
				errs = append(errs, field.Invalid(at.Child("endPort"), *p.EndPort, "may not be specified when port is a name"))
			}
			for _, m := range validation.IsValidPortName(p.Port.StrVal) {
				errs = append(errs, field.Invalid(at.Child("port"), p.Port.StrVal, m))
			}
		}
	}
	return errs
}

// validateMetadata says what of an object's labels and annotations can't be used.
func validateMetadata(labels, annotations map[string]string, path *field.Path) field.ErrorList {
	errs := metavalidation.ValidateLabels(labels, path.Child("labels"))
	return append(errs, apivalidation.ValidateAnnotations(annotations, path.Child("annotations"))...)
}
