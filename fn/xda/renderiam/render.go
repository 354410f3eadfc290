package renderiam

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

// An Agent is what its identity and its data in Google Cloud are made from.
type Agent struct {
	Name        string // as v1alpha1 validates it: 3 to 24 characters
	Project     string // 6 to 30 characters
	Description string // anything a user wrote

	DatasetsBucket  string // holds the dataset; a valid bucket name
	DatasetsProject string // holds that bucket

	Location       string // of the agent's own bucket
	ProviderConfig string // gcp.upbound.io
	KeepData       bool   // whether the bucket survives the agent

	ViewerGrant input.GrantKind // of the grant on the datasets bucket
	AdminGrant  input.GrantKind // of the grant on the agent's own bucket

	// Member is who the grants are for; "": the agent's Google service account.
	Member string

	// GrantsFirst keeps the account until its grants are gone.
	GrantsFirst bool

	KMSKeyName string            // of new objects in the bucket; "": Google's
	Labels     map[string]string // of the bucket, beside ours

	// OrderUID marks what lies in Google Cloud as the order's; "" where nobody gave it one.
	OrderUID string

	// Bucket and Account say whose these are. What isn't known to be the order's is only
	// looked at.
	Bucket, Account Whose

	// WithKey says that the account's key may be made: its private half is handed
	// out once, so the namespace of its Secret must be there.
	WithKey bool
}

// Parts returns the composed resource names that Render uses.
func Parts() []string {
	return []string{
		v1alpha1.PartBucket, v1alpha1.PartServiceAccount, v1alpha1.PartServiceAccountKey,
		v1alpha1.PartIAMDatasetsViewer, v1alpha1.PartIAMBucketAdmin,
	}
}

// Render returns an agent's own bucket, its Google service account with a key,
// and its two grants, by composed resource name.
func Render(a Agent) map[string]manifest.Object {
	parts := map[string]manifest.Object{
		v1alpha1.PartBucket:            bucket(a),
		v1alpha1.PartServiceAccount:    serviceAccount(a),
		v1alpha1.PartIAMDatasetsViewer: grant(a, v1alpha1.PartIAMDatasetsViewer, a.ViewerGrant, "roles/storage.objectViewer", a.DatasetsProject, a.DatasetsBucket, "datasets bucket only"),
		v1alpha1.PartIAMBucketAdmin:    grant(a, v1alpha1.PartIAMBucketAdmin, a.AdminGrant, "roles/storage.objectAdmin", a.Project, v1alpha1.AgentBucket(a.Project, a.Name), "own bucket only"),
	}
	if a.WithKey {
		parts[v1alpha1.PartServiceAccountKey] = serviceAccountKey(a)
	}
	if a.GrantsFirst && a.Member == "" { // else the grants are not the account's
		for part, grant := range map[string]string{v1alpha1.PartDatasetsViewerUsage: v1alpha1.PartIAMDatasetsViewer, v1alpha1.PartBucketAdminUsage: v1alpha1.PartIAMBucketAdmin} {
			parts[part] = usage(a, part, v1alpha1.PartName(a.Name, grant), parts[grant])
		}
	}
	return parts
}

// usage keeps the account while a grant of it exists: Google keeps a grant for ever whose
// account went first. Crossplane deletes the account when the grant is gone, because it
// refused to before.
func usage(a Agent, part, name string, grant manifest.Object) manifest.Object {
	return manifest.Object{
		"apiVersion": "protection.crossplane.io/v1beta1",
		"kind":       "ClusterUsage",
		"metadata":   manifest.Object{"name": v1alpha1.PartName(a.Name, part)},
		"spec": manifest.Object{
			"of": manifest.Object{
				"apiVersion":  "cloudplatform.gcp.upbound.io/v1beta1",
				"kind":        "ServiceAccount",
				"resourceRef": manifest.Object{"name": v1alpha1.PartName(a.Name, v1alpha1.PartServiceAccount)},
			},
			"by": manifest.Object{
				"apiVersion":  grant["apiVersion"],
				"kind":        grant["kind"],
				"resourceRef": manifest.Object{"name": name},
			},
			"reason":         "A grant whose account is gone stays in Google's policy for ever",
			"replayDeletion": true,
		},
	}
}

// member is who the grants are for. There is no reference for it: the account's
// address follows from its id, which is the agent's namespace's name.
func member(a Agent) string {
	if a.Member != "" {
		return a.Member
	}
	return "serviceAccount:" + v1alpha1.AgentNamespace(a.Name) + "@" + a.Project + ".iam.gserviceaccount.com"
}

// SandboxMember is the sandbox itself as Google's policies name it, in the Workload
// Identity pool of its cluster.
func SandboxMember(pool, agent string) string {
	return "serviceAccount:" + pool + "[" + v1alpha1.AgentNamespace(agent) + "/" + v1alpha1.SandboxServiceAccount + "]"
}

// isSandbox tells a SandboxMember from a Google service account.
func isSandbox(member string) bool { return strings.Contains(member, ".svc.id.goog[") }

func bucket(a Agent) manifest.Object {
	forProvider := manifest.Object{
		"project":                  a.Project,
		"location":                 a.Location,
		"uniformBucketLevelAccess": true, // bucket-level conditions need it
		"publicAccessPrevention":   "enforced",
		"forceDestroy":             true,
		// Deleted data stays billable and restorable otherwise.
		"softDeletePolicy": manifest.Object{"retentionDurationSeconds": 0},
		"labels":           labels(a),
	}
	if a.KMSKeyName != "" {
		forProvider["encryption"] = manifest.Object{"defaultKmsKeyName": a.KMSKeyName}
	}
	spec := manifest.Object{
		"forProvider":       forProvider,
		"providerConfigRef": manifest.Object{"name": a.ProviderConfig},
	}
	if a.KeepData {
		forProvider["forceDestroy"] = false
		forProvider["softDeletePolicy"] = manifest.Object{"retentionDurationSeconds": 604800} // Google's default, 7 days
		// The one set of policies without Delete that the provider knows and that
		// still manages the bucket.
		spec["managementPolicies"] = []string{"Observe", "Create", "Update", "LateInitialize"}
	}
	if a.Bucket != Ours {
		spec["managementPolicies"] = lookOnly
	}
	return manifest.Object{
		"apiVersion": "storage.gcp.upbound.io/v1beta2",
		"kind":       "Bucket",
		"metadata": manifest.Object{
			"name":        v1alpha1.PartName(a.Name, v1alpha1.PartBucket),
			"annotations": manifest.Object{"crossplane.io/external-name": v1alpha1.AgentBucket(a.Project, a.Name)},
		},
		"spec": spec,
	}
}

// lookOnly lets a provider say what is there, and neither change nor delete it.
var lookOnly = []string{"Observe"}

// labels of the bucket in Google Cloud.
func labels(a Agent) manifest.Object {
	l := manifest.Object{}
	for k, v := range a.Labels {
		l[k] = v
	}
	l[v1alpha1.GoogleLabelAgent] = a.Name
	if a.OrderUID != "" {
		l[v1alpha1.GoogleLabelOrderUID] = a.OrderUID
	}
	return l
}

func serviceAccount(a Agent) manifest.Object {
	spec := manifest.Object{
		"forProvider": manifest.Object{
			"project":     a.Project,
			"displayName": "Whisperops agent " + a.Name, // at most 41 of 100 bytes
			"description": description(a),
		},
		"providerConfigRef": manifest.Object{"name": a.ProviderConfig},
	}
	if a.Account != Ours {
		spec["managementPolicies"] = lookOnly
	}
	return manifest.Object{
		"apiVersion": "cloudplatform.gcp.upbound.io/v1beta1",
		"kind":       "ServiceAccount",
		"metadata": manifest.Object{
			"name":        v1alpha1.PartName(a.Name, v1alpha1.PartServiceAccount),
			"annotations": manifest.Object{"crossplane.io/external-name": v1alpha1.AgentNamespace(a.Name)},
		},
		"spec": spec,
	}
}

// serviceAccountKey has no external name: Google gives it one.
func serviceAccountKey(a Agent) manifest.Object {
	return manifest.Object{
		"apiVersion": "cloudplatform.gcp.upbound.io/v1beta1",
		"kind":       "ServiceAccountKey",
		"metadata":   manifest.Object{"name": v1alpha1.PartName(a.Name, v1alpha1.PartServiceAccountKey)},
		"spec": manifest.Object{
			"forProvider": manifest.Object{
				"serviceAccountIdRef": manifest.Object{"name": v1alpha1.PartName(a.Name, v1alpha1.PartServiceAccount)},
			},
			"providerConfigRef": manifest.Object{"name": a.ProviderConfig},
			"writeConnectionSecretToRef": manifest.Object{
				"name":      v1alpha1.SecretGCPCredentials,
				"namespace": v1alpha1.AgentNamespace(a.Name),
			},
		},
	}
}

// grant opens one bucket of a project to the agent. All its fields are force-new,
// and it has no external name: Google gives it one.
func grant(a Agent, part string, kind input.GrantKind, role, project, bucket, title string) manifest.Object {
	apiVersion := "cloudplatform.gcp.upbound.io/v1beta2"
	forProvider := manifest.Object{"role": role, "member": member(a)}
	if kind == input.GrantBucketIAMMember {
		apiVersion = "storage.gcp.upbound.io/v1beta2"
		forProvider["bucket"] = bucket
	} else {
		forProvider["project"] = project
		forProvider["condition"] = manifest.Object{"title": title, "expression": manifest.BucketExpression(bucket)}
	}
	return manifest.Object{
		"apiVersion": apiVersion,
		"kind":       string(kind),
		"metadata":   manifest.Object{"name": v1alpha1.PartName(a.Name, part)},
		"spec": manifest.Object{
			"forProvider":       forProvider,
			"providerConfigRef": manifest.Object{"name": a.ProviderConfig},
		},
	}
}

// description is what Google shows beside the account, from user text in at most
// 256 bytes.
func description(a Agent) string {
	text := manifest.Plain(a.Description, 500)
	if text == "" {
		text = "Identity of agent " + a.Name
	}
	if a.OrderUID == "" {
		return cut(text, 256)
	}
	mark := " " + textMark(a.OrderUID)
	return cut(text, 256-len(mark)) + mark
}

// cut shortens text to at most n bytes, between two characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return strings.TrimRight(text[:n], " ")
}

// Key is what is observed of the account's key.
type Key struct {
	Ordered bool // there is a ServiceAccountKey
	Ready   bool // the key exists in Google Cloud
	Held    bool // its private half has reached Crossplane

	// Keyless: the sandbox has no key, and needs none.
	Keyless bool

	// From and Until are when Google takes the key; zero when that isn't known, and
	// Until in the year 9999 for one that doesn't expire.
	From, Until time.Time
}

// expiresSoon says whether it is time to replace a key: two weeks before its end, or
// in the last third of a shorter life.
func (k Key) expiresSoon(now time.Time) bool {
	if k.Until.IsZero() {
		return false
	}
	notice := 14 * 24 * time.Hour
	if life := k.Until.Sub(k.From); !k.From.IsZero() && life > 0 && life/3 < notice {
		notice = life / 3
	}
	return !now.Before(k.Until.Add(-notice))
}

// Credentials says whether the private half of the key is there, and how to get
// one again if it is lost: Google hands it out once, and a provider that was
// restarted at the wrong moment forgets it and calls the key ready. A key that an
// organization lets expire is called ready too. The commands don't wait: Crossplane
// makes a new key of the same name at once, and kubectl may see nothing but that.
func Credentials(agent string, k Key, now time.Time) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionCredentialsPresent}
	resource := "serviceaccountkeys.cloudplatform.gcp.upbound.io " + v1alpha1.PartName(agent, v1alpha1.PartServiceAccountKey)
	renew := fmt.Sprintf("`kubectl delete %s --wait=false`; Crossplane makes a new one", resource)
	until := k.Until.UTC().Format(time.RFC3339)
	switch {
	case k.Keyless && !k.Ordered:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonKeyless
		c.Message = fmt.Sprintf("The sandbox reaches its data by Workload Identity, as service account %s of namespace %s: there is no key", v1alpha1.SandboxServiceAccount, v1alpha1.AgentNamespace(agent))
	case k.Ordered && !k.Until.IsZero() && !now.Before(k.Until):
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonKeyExpired
		c.Message = fmt.Sprintf("The agent's key expired at %s: Google refuses it, and the sandbox reaches no data. Run %s", until, renew)
	case k.Held && k.expiresSoon(now):
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonKeyExpiresSoon
		c.Message = fmt.Sprintf("Secret %s in namespace %s holds the agent's key, which expires at %s. Before that, run %s", v1alpha1.SecretGCPCredentials, v1alpha1.AgentNamespace(agent), until, renew)
	case k.Held:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonKeyPresent
		c.Message = fmt.Sprintf("Secret %s in namespace %s holds the agent's key", v1alpha1.SecretGCPCredentials, v1alpha1.AgentNamespace(agent))
	case k.Ready:
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonKeyLost
		c.Message = fmt.Sprintf("The agent's key exists, but its private half is lost: Secret %s in namespace %s has no private_key. Run %s",
			v1alpha1.SecretGCPCredentials, v1alpha1.AgentNamespace(agent), renew)
	case k.Ordered:
		// Many organizations refuse keys, and only the provider hears of it.
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonNoKeyYet
		c.Message = fmt.Sprintf("The agent's key has not been made yet. If it stays so, `kubectl describe %s` says why", resource)
	default:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonNoKeyYet
		c.Message = "The agent's key has not been made yet"
	}
	return c
}
