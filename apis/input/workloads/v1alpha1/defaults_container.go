package v1alpha1

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"whisperops.io/functions/apis/v1alpha1"
)

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
			if size, huge := strings.CutPrefix(string(name), corev1.ResourceHugePagesPrefix); huge {
				if page, err := resource.ParseQuantity(size); err != nil || page.Sign() <= 0 || q.Value()%page.Value() != 0 {
					errs = append(errs, field.Invalid(at, q.String(), "must be whole pages of a size such as hugepages-2Mi"))
				}
				continue
			}
			// Anything else is a device: somebody's domain, and whole ones. Quotas put
			// "requests." before its name, which must still be one.
			if msgs := validation.IsQualifiedName("requests." + string(name)); len(msgs) > 0 || !strings.Contains(string(name), "/") || strings.HasPrefix(string(name), "requests.") {
				errs = append(errs, field.Invalid(at, name, "must be cpu, memory, ephemeral-storage, hugepages-<size> or a device's name such as nvidia.com/gpu"))
			} else if q.MilliValue()%1000 != 0 {
				errs = append(errs, field.Invalid(at, q.String(), "must be an integer"))
			}
		}
	}
	for _, name := range sortedKeys(r.Requests) {
		request := r.Requests[name]
		limit, ok := r.Limits[name]
		switch device := strings.Contains(string(name), "/") || strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix); {
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
		errs = append(errs, validateFieldRef(r, path.Child("fieldRef"))...)
	}
	if r := from.ResourceFieldRef; r != nil {
		sources++
		known := []string{"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"}
		if kind, rest, _ := strings.Cut(r.Resource, "."); !slices.Contains(known, r.Resource) && ((kind != "limits" && kind != "requests") || !strings.HasPrefix(rest, corev1.ResourceHugePagesPrefix)) {
			errs = append(errs, field.NotSupported(path.Child("resourceFieldRef", "resource"), r.Resource, known))
		}
		divisors := memoryDivisors
		if strings.HasSuffix(r.Resource, ".cpu") {
			divisors = []string{"1m", "1"}
		}
		if d := r.Divisor.String(); !r.Divisor.IsZero() && !slices.Contains(divisors, d) {
			errs = append(errs, field.NotSupported(path.Child("resourceFieldRef", "divisor"), d, divisors))
		}
	}
	if sources != 1 {
		errs = append(errs, field.Invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"))
	}
	return errs
}

var memoryDivisors = []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}

func validateFieldRef(r *corev1.ObjectFieldSelector, path *field.Path) field.ErrorList {
	if r.APIVersion != "" && r.APIVersion != "v1" {
		return field.ErrorList{field.NotSupported(path.Child("apiVersion"), r.APIVersion, []string{"v1"})}
	}
	at := path.Child("fieldPath")
	const labels, annotations = "metadata.labels['", "metadata.annotations['"
	for _, of := range []string{labels, annotations} {
		if key, cut := strings.CutPrefix(r.FieldPath, of); cut {
			key, closed := strings.CutSuffix(key, "']")
			if of == annotations {
				key = strings.ToLower(key) // they may have capitals, and labels may not
			}
			if msgs := validation.IsQualifiedName(key); !closed || len(msgs) > 0 {
				return field.ErrorList{field.Invalid(at, r.FieldPath, "must be "+of+"<key>'] with the key of one")}
			}
			return nil
		}
	}
	known := []string{"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}
	if !slices.Contains(known, r.FieldPath) {
		return field.ErrorList{field.NotSupported(at, r.FieldPath, known)}
	}
	return nil
}
