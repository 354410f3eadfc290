package catalog

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
)

var layout = Layout{Folder: "datasets", Name: "dataset-watcher", Owner: "group:default/platform"}

func dataset(name string) v1alpha1.XDataset {
	return v1alpha1.XDataset{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.XDatasetSpec{GCSPath: "gs://data/" + name + ".csv", SizeBytes: 2_000_000, DisplayName: "It's: " + name},
		Status:     v1alpha1.XDatasetStatus{Ready: true, SizeHuman: "1.9 MiB"},
	}
}

const wantEntity = `# Written by the dataset watcher from the XDatasets; changes made here are undone.
apiVersion: backstage.io/v1alpha1
kind: Resource
metadata:
  annotations:
    whisperops.io/gcs-path: gs://data/california-housing.csv
    whisperops.io/managed-by: dataset-watcher
    whisperops.io/size-bytes: "2000000"
  description: CSV of 1.9 MiB at gs://data/california-housing.csv
  labels:
    whisperops.io/ready: "true"
  name: california-housing
  tags:
  - csv
  - dataset
  title: 'It''s: california-housing'
spec:
  owner: group:default/platform
  type: dataset
`

func TestEntity(t *testing.T) {
	d := dataset("california-housing")
	got, err := layout.Entity(d)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantEntity, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !layout.owned(got) {
		t.Error("want an entity to be recognised as ours")
	}
	other := layout
	other.Name = "another"
	if other.owned(got) {
		t.Error("want an entity of another watcher to be recognised as theirs")
	}
	now := metav1.Now()
	d.Status.LastSeen = &now
	if again, _ := layout.Entity(d); !bytes.Equal(again, got) {
		t.Errorf("want no time in the entity, or the repository would move every hour; got\n%s", again)
	}
}

func TestLocation(t *testing.T) {
	got, err := layout.Location([]string{"b", "a"})
	if err != nil {
		t.Fatal(err)
	}
	want := `# Written by the dataset watcher from the XDatasets; changes made here are undone.
apiVersion: backstage.io/v1alpha1
kind: Location
metadata:
  annotations:
    whisperops.io/managed-by: dataset-watcher
  description: The datasets that agents can be ordered for
  name: dataset-watcher
spec:
  targets:
  - ./resources/a.yaml
  - ./resources/b.yaml
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := (Layout{Name: "x"}).LocationFile(); got != "catalog-info.yaml" {
		t.Errorf("want the root of the repository to be a folder like any other, got %s", got)
	}
}

func TestFolderEntity(t *testing.T) {
	d := dataset("sales")
	d.Spec.GCSPath, d.Status.Files = "gs://data/sales/", 12
	got, err := layout.Entity(d)
	if want := "description: 12 CSVs of 1.9 MiB at gs://data/sales/\n"; err != nil || !bytes.Contains(got, []byte(want)) {
		t.Errorf("want %q in it, got %v:\n%s", want, err, got)
	}
}
