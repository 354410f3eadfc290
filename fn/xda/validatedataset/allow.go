package validatedataset

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
)

// A Reach is what an order reaches for beyond its own names.
type Reach struct {
	Domain  string // spec.baseDomain
	Project string // spec.projectId
	Bucket  string // of the dataset; "" while none is known

	Live       bool   // whether any part of the agent is observed
	LiveDomain string // the domain that the living agent is served under; "" when that can't be read
}

// A Permit says whether the platform allows a reach.
type Permit struct {
	Condition metav1.Condition // OrderAllowed

	// Refused says that nothing may be made. A living agent is never refused: a list
	// that was set since is for new orders, and for what changes.
	Refused bool

	// Domain is what a living agent keeps, because the one it was given since is not
	// allowed. "" leaves it the order's.
	Domain string

	// Stop says that nothing may be rendered until the order is changed.
	Stop bool
}

// Allow says whether an order may reach what it reaches for.
func Allow(r Reach, lists input.AllowLists) Permit {
	p := Permit{Condition: metav1.Condition{Type: v1alpha1.ConditionOrderAllowed, Status: metav1.ConditionFalse}}
	refuse := func(reason, message string, list []string) Permit {
		p.Condition.Reason, p.Refused = reason, !r.Live
		p.Condition.Message = message
		if len(list) > 0 {
			p.Condition.Message += " (allowed: " + strings.Join(list, ", ") + ")"
		}
		if r.Live {
			p.Condition.Message += ". The agent lives on"
		}
		return p
	}
	switch {
	case !input.Allows(lists.Projects, r.Project):
		return refuse(v1alpha1.ReasonProjectNotAllowed, fmt.Sprintf("spec.projectId %q is not in the platform's list allow.projects", r.Project), lists.Projects)
	case r.Bucket != "" && !input.Allows(lists.Buckets, r.Bucket):
		return refuse(v1alpha1.ReasonBucketNotAllowed, fmt.Sprintf("The dataset's bucket %q is not in the platform's list allow.buckets", r.Bucket), lists.Buckets)
	case !input.Allows(lists.Domains, r.Domain):
		refuse(v1alpha1.ReasonDomainNotAllowed, fmt.Sprintf("spec.baseDomain %q is not in the platform's list allow.domains", r.Domain), lists.Domains)
		if r.Live {
			p.Domain, p.Stop = r.LiveDomain, r.LiveDomain == ""
		}
		return p
	}
	p.Condition.Status, p.Condition.Reason = metav1.ConditionTrue, v1alpha1.ReasonAllowed
	p.Condition.Message = "The platform allows what the order reaches for"
	var without []string
	for _, l := range []struct {
		name string
		list []string
	}{{"allow.domains", lists.Domains}, {"allow.projects", lists.Projects}, {"allow.buckets", lists.Buckets}} {
		if len(l.list) == 0 {
			without = append(without, l.name)
		}
	}
	if len(without) > 0 {
		p.Condition.Reason = v1alpha1.ReasonNoAllowList
		p.Condition.Message = "Anything goes that the platform set no list for (input of validate-dataset): " + strings.Join(without, ", ")
	}
	return p
}
