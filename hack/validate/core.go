package main

import (
	"fmt"

	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/applyconfigurations"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	admissionvalidation "k8s.io/kubernetes/pkg/apis/admissionregistration/validation"
	"k8s.io/kubernetes/pkg/apis/apps"
	// Each registers its kinds, their conversions and their defaults.
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	"k8s.io/kubernetes/pkg/apis/rbac"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	rbacvalidation "k8s.io/kubernetes/pkg/apis/rbac/validation"
)

var (
	// strict refuses unknown and duplicate fields and fills in defaults.
	strict = serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDecoder()

	// applied refuses what server-side apply refuses before anything else looks
	// at the object: fields it does not know, and two entries of a list with the
	// same key.
	applied managedfields.TypeConverter = applyconfigurations.NewTypeConverter(clientscheme.Scheme)
)

// A coreKind is a kind of Kubernetes itself that we render or install.
type coreKind struct {
	namespaced bool
	validate   func(runtime.Object) field.ErrorList
}

// validator turns a validation of Kubernetes' own into one for any object.
func validator[T runtime.Object](f func(T) field.ErrorList) func(runtime.Object) field.ErrorList {
	return func(o runtime.Object) field.ErrorList {
		t, ok := o.(T)
		if !ok {
			return field.ErrorList{field.InternalError(nil, fmt.Errorf("decoded to %T", o))}
		}
		return f(t)
	}
}

var coreKinds = map[schema.GroupVersionKind]coreKind{
	{Version: "v1", Kind: "Namespace"}:      {false, validator(corevalidation.ValidateNamespace)},
	{Version: "v1", Kind: "ConfigMap"}:      {true, validator(corevalidation.ValidateConfigMap)},
	{Version: "v1", Kind: "ResourceQuota"}:  {true, validator(corevalidation.ValidateResourceQuota)},
	{Version: "v1", Kind: "ServiceAccount"}: {true, validator(corevalidation.ValidateServiceAccount)},
	{Version: "v1", Kind: "Service"}:        {true, validator(validateService)},
	{Version: "v1", Kind: "Secret"}:         {true, validator(corevalidation.ValidateSecret)},
	{Group: "apps", Version: "v1", Kind: "Deployment"}: {true, validator(func(d *apps.Deployment) field.ErrorList {
		return appsvalidation.ValidateDeployment(d, podutil.GetValidationOptionsFromPodTemplate(&d.Spec.Template, nil))
	})},
	{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"}: {true, validator(func(n *networking.NetworkPolicy) field.ErrorList {
		return networkingvalidation.ValidateNetworkPolicy(n, networkingvalidation.NetworkPolicyValidationOptions{})
	})},
	{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress"}:             {true, validator(networkingvalidation.ValidateIngressCreate)},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "Role"}:        {true, validator(rbacvalidation.ValidateRole)},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"}: {true, validator(rbacvalidation.ValidateRoleBinding)},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"}: {false, validator(func(r *rbac.ClusterRole) field.ErrorList {
		return rbacvalidation.ValidateClusterRole(r, rbacvalidation.ClusterRoleValidationOptions{})
	})},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRoleBinding"}: {false, validator(rbacvalidation.ValidateClusterRoleBinding)},
	{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"}: {true, validator(func(p *policy.PodDisruptionBudget) field.ErrorList {
		return policyvalidation.ValidatePodDisruptionBudget(p, policyvalidation.PodDisruptionBudgetValidationOptions{})
	})},
	// Their expressions are compiled.
	{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingAdmissionPolicy"}:        {false, validator(admissionvalidation.ValidateValidatingAdmissionPolicy)},
	{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingAdmissionPolicyBinding"}: {false, validator(admissionvalidation.ValidateValidatingAdmissionPolicyBinding)},
}

// validateService validates a Service with what the API server allocates for it.
func validateService(s *core.Service) field.ErrorList {
	if s.Spec.ClusterIP != "" && s.Spec.ClusterIPs == nil {
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	}
	return corevalidation.ValidateServiceCreate(s)
}

// check returns what the API server would refuse in an apply of o. A sparse
// object holds only the fields that somebody wants to own of an object that
// exists, so what is missing is no error.
func (k coreKind) check(o map[string]any, sparse bool) field.ErrorList {
	u := &unstructured.Unstructured{Object: o}
	if _, err := applied.ObjectToTyped(u); err != nil {
		return field.ErrorList{field.Invalid(nil, field.OmitValueType{}, err.Error())}
	}
	raw, err := u.MarshalJSON()
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	obj, _, err := strict.Decode(raw, nil, nil)
	if err != nil {
		return field.ErrorList{field.Invalid(nil, field.OmitValueType{}, err.Error())}
	}
	if sparse {
		return metavalidation.ValidateObjectMetaAccessor(u, k.namespaced, metavalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	}
	return k.validate(obj)
}
