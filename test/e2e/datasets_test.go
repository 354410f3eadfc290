package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// An order for a dataset that does not exist says so, and heals when it appears.
func datasetAppears(t *testing.T, w *world) {
	w.apply(t, suite.NewOrder("early-bot", "late-data", 5))
	w.seeOrder(t, heard, "the order to say that its dataset is missing", "early-bot",
		condition("DatasetValid", "False", "DatasetNotFound"), condition("Ready", "False", ""), condition("Synced", "True", ""), field("Failed", "status", "phase"))
	if n := len(w.refs(t, "early-bot")); n != 0 {
		t.Errorf("want no part of an order that can't be filled, got %d", n)
	}
	if out := w.kubectl(t, "describe", "xda", "early-bot"); !strings.Contains(out, `XDataset "late-data" does not exist: upload its CSV`) {
		t.Errorf("want a sentence that helps, got:\n%s", out)
	}
	w.apply(t, suite.NewDataset("late-data", datasets))
	w.seeOrder(t, 10*time.Second, "the order to see its dataset", "early-bot", condition("DatasetValid", "True", ""))
	w.ready(t, "early-bot")
}

// A live agent outlives its dataset, and nothing of it is lost.
func datasetDeleted(t *testing.T, w *world) {
	const agent, data = "left-bot", "passing-data"
	w.apply(t, suite.NewDataset(data, datasets), suite.NewOrder(agent, data, 5))
	w.ready(t, agent)
	kept, untouched := w.keeps(t, agent), w.untouched(t, agent, 1)
	defer kept() // whatever else is wrong, what was lost is told
	w.delete(t, suite.API, "XDataset", "", data)
	w.seeOrder(t, heard, "the order to say that its dataset is gone", agent,
		condition("DatasetValid", "False", "DatasetNotFound"), condition("Synced", "True", ""), condition("Ready", "True", ""), field("Dataset passing-data", "status", "dataset", "displayName"))
	kept()
	w.apply(t, suite.NewDataset(data, datasets))
	w.seeOrder(t, heard, "the order to see its dataset again", agent, condition("DatasetValid", "True", ""))
	untouched()
}

// A live agent follows its order to a dataset in the same bucket, and to nothing
// else. Whatever else it is pointed at, it runs on with the last valid one.
func datasetSwapped(t *testing.T, w *world) {
	const agent = "swap-bot"
	ns := w.agent(t, agent)
	unready, nonsense := suite.NewDataset("unready", datasets), suite.NewDataset("nonsense", "Not_A_Bucket")
	unready.Object["status"] = map[string]any{"ready": false}
	w.apply(t, suite.NewDataset("titanic", datasets), suite.NewDataset("elsewhere", "other-datasets"), unready, nonsense)
	kept := w.keeps(t, agent)
	grant := func() string {
		t.Helper()
		o, err := w.Get(t.Context(), "cloudplatform.gcp.upbound.io/v1beta2", "ProjectIAMMember", "", "agent-"+agent+"-iam-datasets-viewer")
		if err != nil {
			t.Fatal(err)
		}
		expression, _, _ := unstructured.NestedString(o.Object, "spec", "forProvider", "condition", "expression")
		if status, _, msg := controlplane.Condition(o, "Synced"); status != "True" {
			t.Errorf("the grant must stay in sync, got %s: %s", status, msg)
		}
		return expression
	}
	opens := grant()
	if !strings.Contains(opens, datasets) {
		t.Fatalf("want a grant that opens %s, got %q", datasets, opens)
	}
	order := func(name string) {
		t.Helper()
		w.patch(t, "XDatasetAgent", "", agent, `{"spec":{"datasetRef":{"name":"`+name+`"}}}`)
	}
	runsOn := func(name string) check { return field(name, "status", "dataset", "name") }
	reads := func(csv string) check {
		return func(o *unstructured.Unstructured) error {
			if !strings.Contains(fmt.Sprint(o.Object["spec"]), csv) {
				return errors.New("the sandbox is not told to read " + csv)
			}
			return nil
		}
	}
	order("titanic")
	w.seeOrder(t, heard, "the agent to move to another dataset", agent, condition("DatasetValid", "True", ""), runsOn("titanic"))
	w.see(t, heard, "its sandbox to read it", "Deployment", ns, "sandbox", reads("gs://"+datasets+"/titanic.csv"))
	for _, tc := range []struct{ name, reason string }{
		{"missing", "DatasetNotFound"}, {"unready", "DatasetNotReady"}, {"nonsense", "DatasetInvalid"}, {"elsewhere", "BucketChanged"},
	} {
		order(tc.name)
		w.seeOrder(t, heard, "the order to refuse "+tc.name, agent, condition("DatasetValid", "False", tc.reason), runsOn("titanic"), condition("Synced", "True", ""))
		w.see(t, 10*time.Second, "its sandbox to stay", "Deployment", ns, "sandbox", reads("gs://"+datasets+"/titanic.csv"))
		kept()
		if now := grant(); now != opens {
			t.Errorf("dataset %s changed the grant from %q to %q", tc.name, opens, now)
		}
	}
	order(housing)
	w.seeOrder(t, heard, "the agent to move back", agent, condition("DatasetValid", "True", ""), runsOn(housing))
	w.ready(t, agent)
	kept()
}
