// Package renderiam is the step "render-iam" of the agent pipeline. It renders
// what the agent is and owns in Google Cloud: a bucket, a service account with a
// key, and two grants that open one bucket each.
package renderiam

import (
	"cmp"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/internal/errors"
)

// New returns the step.
func New(log logging.Logger) *edge.Function { return NewAt(log, time.Now) }

// NewAt returns the step with a clock of its own, for tests: keys expire.
func NewAt(log logging.Logger, now func() time.Time) *edge.Function {
	return edge.New(log, func(c *edge.Call) error { return run(c, now()) })
}

// run adds five parts, and sets conditions CredentialsPresent and
// PartsHeldBack.
func run(c *edge.Call, now time.Time) error {
	in := &input.RenderIAMInput{}
	xr, dataset, err := c.Ask(in, v1alpha1.UsesAgentName, v1alpha1.UsesProjectID)
	if err != nil {
		return err
	}
	name := xr.Spec.AgentName

	key := c.Observed(v1alpha1.PartServiceAccountKey)
	member := sandboxMember(c, *in, name, xr.Spec.ProjectID)
	if member != "" {
		if err := c.SetContext(v1alpha1.ContextSandboxIdentity, string(input.CredentialsWorkloadIdentity)); err != nil {
			return err
		}
	}
	c.Condition(Credentials(name, Key{
		Ordered: key.Exists(),
		Ready:   key.Ready() && !key.Deleting(),
		Keyless: member != "",
		Held:    key.HasConnectionDetail(v1alpha1.SecretKeyPrivateKey),
		From:    key.Time("status", "atProvider", "validAfter"),
		Until:   key.Time("status", "atProvider", "validBefore"),
	}, now))

	if dataset == nil {
		if err := c.HoldBack(); err != nil {
			return err
		}
		return c.NothingLost("there is no valid dataset, so nothing can be rendered (condition DatasetValid says why)", Parts()...)
	}
	if opened := edge.OpenedBucket(c.Observed(v1alpha1.PartIAMDatasetsViewer)); opened != "" && opened != dataset.Bucket() {
		return errors.Errorf("cannot render %s: it opens bucket %q and can't be edited, but dataset %q lies in bucket %q; set spec.datasetRef.name back, or order another agent",
			v1alpha1.PartIAMDatasetsViewer, opened, dataset.Name, dataset.Bucket())
	}

	own, restored := c.UIDs()
	whose := func(part string) Whose {
		return Judge(found(c.Observed(part)), name, xr.Spec.ProjectID, own, restored)
	}
	agent := Agent{
		OrderUID:        own,
		Bucket:          whose(v1alpha1.PartBucket),
		Account:         whose(v1alpha1.PartServiceAccount),
		Name:            name,
		Project:         xr.Spec.ProjectID,
		Description:     xr.Spec.Description,
		DatasetsBucket:  dataset.Bucket(),
		DatasetsProject: datasetsProject(c.Observed(v1alpha1.PartIAMDatasetsViewer), cmp.Or(in.DatasetsProjectID, xr.Spec.ProjectID)),
		Location:        location(c.Observed(v1alpha1.PartBucket), in.Location),
		ProviderConfig:  in.ProviderConfig,
		KeepData:        in.DataDeletion == input.DataOrphan,
		ViewerGrant:     grantKind(c, v1alpha1.PartIAMDatasetsViewer, in.Grants),
		AdminGrant:      grantKind(c, v1alpha1.PartIAMBucketAdmin, in.Grants),
		Member:          member,
		GrantsFirst:     in.DeletionOrder == input.DeleteGrantsFirst,
		KMSKeyName:      kmsKey(c.Observed(v1alpha1.PartBucket), *in),
		Labels:          in.BucketLabels,
		WithKey:         key.Exists() || member == "" && c.NamespaceActive(),
	}
	if agent.Account != Ours && c.Observed(v1alpha1.PartServiceAccount).Exists() && !key.Exists() {
		agent.WithKey = false // a key of somebody else's account opens what is theirs
	}
	if err := c.AddComposed(Render(agent)); err != nil {
		return err
	}
	var heldBack []v1alpha1.HeldBack
	if !agent.WithKey && member == "" {
		waitsFor := "namespace " + v1alpha1.AgentNamespace(name) + " to be active"
		if c.NamespaceActive() {
			waitsFor = "service account " + v1alpha1.AgentNamespace(name) + " to be known as this order's"
		}
		heldBack = append(heldBack, v1alpha1.HeldBack{Part: v1alpha1.PartServiceAccountKey, WaitsFor: waitsFor})
	}
	if err := c.SayTaken(taken(agent)...); err != nil {
		return err
	}
	if err := c.HoldBack(heldBack...); err != nil {
		return err
	}
	c.Log.Debug("Rendered identity and data", "agent", name, "with-key", agent.WithKey)
	return c.NothingLost("a part of this step was left out", Parts()...)
}

// taken names what in Google Cloud is somebody else's.
func taken(a Agent) (names []v1alpha1.TakenName) {
	if a.Bucket == Theirs {
		names = append(names, v1alpha1.TakenName{Part: v1alpha1.PartBucket, By: "Bucket gs://" + v1alpha1.AgentBucket(a.Project, a.Name) + " was not made by this order"})
	}
	if a.Account == Theirs {
		names = append(names, v1alpha1.TakenName{Part: v1alpha1.PartServiceAccount, By: "Service account " + v1alpha1.AgentNamespace(a.Name) + " of project " + a.Project + " was not made by this order"})
	}
	return names
}

// sandboxMember is who the grants are for where the sandbox has no key, or "" where it
// has one. A living agent keeps what its grants were made for: all their fields are
// force-new.
func sandboxMember(c *edge.Call, in input.RenderIAMInput, agent, project string) string {
	for _, part := range []string{v1alpha1.PartIAMDatasetsViewer, v1alpha1.PartIAMBucketAdmin} {
		switch m := c.Observed(part).String("spec", "forProvider", "member"); {
		case isSandbox(m):
			return m
		case m != "":
			return ""
		}
	}
	if in.Credentials != input.CredentialsWorkloadIdentity || c.Observed(v1alpha1.PartServiceAccountKey).Exists() {
		return ""
	}
	return SandboxMember(cmp.Or(in.WorkloadIdentityPool, project+".svc.id.goog"), agent)
}

// location keeps a bucket where it is: an input that was changed since is for new
// agents, because a bucket can't be moved. Google writes locations in upper case.
func location(bucket edge.Part, chosen string) string {
	if at := bucket.String("status", "atProvider", "location"); at != "" && !strings.EqualFold(at, chosen) {
		return at
	}
	return chosen
}

// kmsKey is with what new objects are encrypted. A bucket that stays where the input no
// longer says can't use a key that lies elsewhere: Google refuses the change, again and
// again. It keeps the one it has.
func kmsKey(bucket edge.Part, in input.RenderIAMInput) string {
	if location(bucket, in.Location) != in.Location {
		return bucket.String("spec", "forProvider", "encryption", "defaultKmsKeyName")
	}
	return in.KMSKeyName
}

// datasetsProject keeps a grant in the policy in which it is: all fields of a
// grant are force-new. One that Google never made goes where the input says now.
func datasetsProject(viewer edge.Part, chosen string) string {
	return cmp.Or(viewer.String("status", "atProvider", "project"), chosen)
}

// grantKind keeps the kind that a living agent's grant was made with: another
// kind under the same name would leave both grants alive.
func grantKind(c *edge.Call, part string, chosen input.GrantKind) input.GrantKind {
	switch k := input.GrantKind(c.Observed(part).Kind()); k {
	case input.GrantProjectIAMMember, input.GrantBucketIAMMember:
		return k
	}
	return chosen
}

// absent is what every provider says of what it may only look at and does not find:
// crossplane-runtime, pkg/reconciler/managed.
const absent = "external resource does not exist"

// found reads what a part's provider says.
func found(p edge.Part) Found {
	policies := p.Value("spec", "managementPolicies").GetListValue().GetValues()
	synced, _ := p.Condition(v1alpha1.ConditionSynced)
	id := p.String("status", "atProvider", "id")
	f := Found{
		Exists:    p.Exists(),
		LooksOnly: len(policies) == 1 && policies[0].GetStringValue() == "Observe",
		Made:      p.String("metadata", "annotations", "crossplane.io/external-create-succeeded") != "",
		Absent:    synced == "False" && strings.Contains(p.Message(v1alpha1.ConditionSynced), absent),
		There:     id != "",
		Silent:    id == "" && p.Ready(),
		Project:   p.String("status", "atProvider", "project"),
		Text:      p.String("status", "atProvider", "description"),
	}
	for k, v := range p.Value("status", "atProvider", "labels").GetStructValue().GetFields() {
		if f.Labels == nil {
			f.Labels = map[string]string{}
		}
		f.Labels[k] = v.GetStringValue()
	}
	return f
}
