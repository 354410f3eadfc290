package v1alpha1

import (
	"fmt"
	"strings"
	"testing"
)

func TestRenderDashboardInputValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		change func(*RenderDashboardInput)
		want   string
	}{
		"Defaults":      {"Everything has a default that works.", func(*RenderDashboardInput) {}, ""},
		"NoFolder":      {"Dashboards may lie in Grafana's own folder.", func(in *RenderDashboardInput) { in.Folder = "" }, ""},
		"NoNamespace":   {"The sidecar watches a namespace.", func(in *RenderDashboardInput) { in.DashboardsNamespace = "" }, "dashboardsNamespace is empty"},
		"Namespace":     {"Crossplane would stop the whole order for it.", func(in *RenderDashboardInput) { in.DashboardsNamespace = "monitoring/grafana" }, `dashboardsNamespace "monitoring/grafana" can't be`},
		"NoDatasource":  {"Every panel asks a data source.", func(in *RenderDashboardInput) { in.DatasourceUID = "" }, "datasourceUid is empty"},
		"Cached":        {"null is no answer.", func(in *RenderDashboardInput) { in.InputContainsCached = nil }, "inputContainsCached must be"},
		"LabelEmpty":    {"Grafana's sidecar may look for the label alone.", func(in *RenderDashboardInput) { in.SidecarLabel = map[string]string{"grafana_dashboard": ""} }, ""},
		"LabelNone":     {"No sidecar would find it.", func(in *RenderDashboardInput) { in.SidecarLabel = map[string]string{} }, "sidecarLabel is empty"},
		"LabelKey":      {"The API server refuses it.", func(in *RenderDashboardInput) { in.SidecarLabel = map[string]string{"grafana dashboard": "1"} }, "sidecarLabel: Invalid value"},
		"LabelValue":    {"As above.", func(in *RenderDashboardInput) { in.SidecarLabel = map[string]string{"a": "b c"} }, "sidecarLabel: Invalid value"},
		"LabelOurs":     {"It says whose the dashboard is.", func(in *RenderDashboardInput) { in.SidecarLabel = map[string]string{"whisperops.io/agent": "x"} }, "must not be whisperops.io/agent"},
		"LabelOrder":    {"So does this.", func(in *RenderDashboardInput) { in.SidecarLabel = map[string]string{"whisperops.io/order-uid": "x"} }, "must not be whisperops.io/order-uid"},
		"Folder":        {"Grafana's folders are called what people like.", func(in *RenderDashboardInput) { in.Folder = "Daten & KI / Agenten" }, ""},
		"FolderKey":     {"The sidecar's setting is an annotation's key.", func(in *RenderDashboardInput) { in.FolderAnnotation = "grafana folder" }, "folderAnnotation: Invalid value"},
		"FolderKeyNone": {"A folder needs a place.", func(in *RenderDashboardInput) { in.FolderAnnotation = "" }, "folderAnnotation: Invalid value"},
		"RecordingRule": {"Recording rules have colons in their names.", func(in *RenderDashboardInput) { in.Metrics.Input = "agent:tokens:sum" }, ""},
		"Query":         {"A name is written into queries as it is.", func(in *RenderDashboardInput) { in.Metrics.Output = `x{a="b"}` }, "metrics.output"},
		"NoName":        {"A query needs a metric.", func(in *RenderDashboardInput) { in.Metrics.CachedInput = "" }, "metrics.cachedInput"},
		"LabelColon":    {"Labels have no colons.", func(in *RenderDashboardInput) { in.Metrics.AgentLabel = "agent:name" }, "metrics.agentLabel"},
		"LabelDigit":    {"A digit comes not first.", func(in *RenderDashboardInput) { in.Platform.RequestHostLabel = "1host" }, "platform.requestHostLabel"},
		"Umlaut":        {"Other letters need quotes.", func(in *RenderDashboardInput) { in.Platform.Requests = "zähler" }, "platform.requests"},
	} {
		t.Run(name, func(t *testing.T) {
			in := &RenderDashboardInput{}
			in.Default()
			tc.change(in)
			if err := in.Validate(); !says(err, tc.want) {
				t.Errorf("%s\nValidate() = %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestRenderIAMInputValidate(t *testing.T) {
	key := func(name string) func(*RenderIAMInput) { return func(in *RenderIAMInput) { in.KMSKeyName = name } }
	keyAt := func(location, at string) func(*RenderIAMInput) {
		return func(in *RenderIAMInput) {
			in.Location, in.KMSKeyName = location, "projects/acme-keys/locations/"+at+"/keyRings/agents/cryptoKeys/buckets"
		}
	}
	label := func(k, v string) func(*RenderIAMInput) {
		return func(in *RenderIAMInput) { in.BucketLabels = map[string]string{k: v} }
	}
	labels := func(n int) func(*RenderIAMInput) {
		return func(in *RenderIAMInput) {
			in.BucketLabels = map[string]string{}
			for i := range n {
				in.BucketLabels[fmt.Sprintf("l%d", i)] = ""
			}
		}
	}
	for name, tc := range map[string]struct {
		reason string
		change func(*RenderIAMInput)
		want   string
	}{
		"Defaults":        {"Everything has a default that works.", func(*RenderIAMInput) {}, ""},
		"Region":          {"Google takes both cases.", func(in *RenderIAMInput) { in.Location = "Europe-West3" }, ""},
		"NoLocation":      {"A bucket lies somewhere.", func(in *RenderIAMInput) { in.Location = "" }, "location is empty"},
		"Blank":           {"The bucket would be asked for over and over.", func(in *RenderIAMInput) { in.Location = "europe west3" }, `location "europe west3" must be`},
		"Newline":         {"A block of YAML ends with one.", func(in *RenderIAMInput) { in.Location = "EU\n" }, `location "EU\n" must be`},
		"NoConfig":        {"Somebody's credentials are needed.", func(in *RenderIAMInput) { in.ProviderConfig = "" }, "providerConfig is empty"},
		"Config":          {"No ProviderConfig can be called so.", func(in *RenderIAMInput) { in.ProviderConfig = "Acme Lake" }, `providerConfig "Acme Lake" can't be an object's name`},
		"Lake":            {"Another project holds the datasets.", func(in *RenderIAMInput) { in.DatasetsProjectID = "acme-lake" }, ""},
		"LakeNumber":      {"A project has a number, too.", func(in *RenderIAMInput) { in.DatasetsProjectID = "123456789012" }, ""},
		"LakeOfDomain":    {"Old projects have a domain before them.", func(in *RenderIAMInput) { in.DatasetsProjectID = "example.org:acme-lake" }, ""},
		"LakeName":        {"The name that people see is no id.", func(in *RenderIAMInput) { in.DatasetsProjectID = "Acme Lake" }, `datasetsProjectId "Acme Lake" must be`},
		"LakePath":        {"Terraform's form.", func(in *RenderIAMInput) { in.DatasetsProjectID = "projects/acme-lake" }, `datasetsProjectId "projects/acme-lake" must be`},
		"Grants":          {"There are two.", func(in *RenderIAMInput) { in.Grants = "Member" }, `grants "Member" must be`},
		"Credentials":     {"There are two.", func(in *RenderIAMInput) { in.Credentials = "None" }, `credentials "None" must be`},
		"Pool":            {"A pool is a project's.", func(in *RenderIAMInput) { in.WorkloadIdentityPool = "acme-data" }, "workloadIdentityPool"},
		"Key":             {"A key's full name.", key("projects/acme-keys/locations/europe/keyRings/agents/cryptoKeys/buckets"), ""},
		"KeyVersion":      {"Google takes the key, and chooses the version.", key("projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"), "without a version"},
		"KeyURL":          {"Terraform's other form.", key("https://cloudkms.googleapis.com/v1/projects/p/locations/l/keyRings/r/cryptoKeys/k"), "kmsKeyName"},
		"KeyBlank":        {"Copied with what stood behind it.", key("projects/p/locations/l/keyRings/r/cryptoKeys/k "), "kmsKeyName"},
		"KeyRegion":       {"Buckets are written in capitals, keys are not.", keyAt("EUROPE-WEST3", "europe-west3"), ""},
		"KeyOfUS":         {"The United States are one place for both.", keyAt("us", "us"), ""},
		"KeyOfTwo":        {"Two regions together have keys of their own.", keyAt("NAM4", "nam4"), ""},
		"KeyOfEU":         {"Keys know no EU.", keyAt("EU", "eu"), "lies in eu: Google encrypts buckets in EU with keys in europe alone"},
		"KeyGlobal":       {"Google refuses the bucket.", keyAt("EU", "global"), "lies in global"},
		"KeyElsewhere":    {"As above, and the order would wait for ever.", keyAt("us-central1", "us-east1"), "with keys in us-central1 alone"},
		"KeyOfOneOfMany":  {"A region of Europe is not Europe.", keyAt("EU", "europe-west3"), "with keys in europe alone"},
		"KeyCapitals":     {"Cloud KMS knows small letters.", keyAt("US", "US"), "without a version"},
		"Label":           {"By Google's rules.", label("cost_center", "42-a"), ""},
		"LabelKubernetes": {"Google's keys have no domain.", label("example.org/team", "a"), "bucketLabels holds the key"},
		"LabelCapital":    {"Google's are in small letters.", label("team", "Data"), "bucketLabels[team]"},
		"LabelOurs":       {"It says whose the bucket is.", label("whisperops-agent", "x"), "must not hold whisperops-agent"},
		"LabelOrder":      {"So does this.", label("whisperops-order-uid", "x"), "must not hold whisperops-order-uid"},
		"LabelEmpty":      {"A value may be empty.", label("team", ""), ""},
		"LabelDigit":      {"A key begins with a letter.", label("1team", "a"), "bucketLabels holds the key"},
		"LabelUmlaut":     {"Provider and bucket would take turns.", label("team", "größe"), "bucketLabels[team]"},
		"LabelLong":       {"64 are too long.", label("team", strings.Repeat("a", 64)), "bucketLabels[team]"},
		"Labels62":        {"With ours Google has 64.", labels(62), ""},
		"Labels63":        {"And no more.", labels(63), "bucketLabels holds 63 labels"},
		"Deletion":        {"There are two.", func(in *RenderIAMInput) { in.DataDeletion = "Keep" }, `dataDeletion "Keep" must be`},
	} {
		t.Run(name, func(t *testing.T) {
			in := &RenderIAMInput{}
			in.Default()
			tc.change(in)
			if err := in.Validate(); !says(err, tc.want) {
				t.Errorf("%s\nValidate() = %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// says whether err holds want; an empty want wants no error.
func says(err error, want string) bool {
	if err == nil || want == "" {
		return err == nil && want == ""
	}
	return strings.Contains(err.Error(), want)
}

func TestRenderIAMInputDeletionOrder(t *testing.T) {
	for order, want := range map[DeletionOrder]string{
		DeleteAny: "", DeleteGrantsFirst: "", "AccountFirst": `deletionOrder "AccountFirst" must be Any or GrantsFirst`, "": `deletionOrder "" must be Any or GrantsFirst`,
	} {
		in := &RenderIAMInput{}
		in.Default()
		in.DeletionOrder = order
		if err := in.Validate(); !says(err, want) {
			t.Errorf("Validate() of %q = %v, want %q", order, err, want)
		}
	}
}
