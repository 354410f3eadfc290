package catalog

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"whisperops.io/functions/apis/v1alpha1"
)

// Annotations of the entities.
const (
	// ManagedByAnnotation says which watcher wrote an entity; nobody else's are removed.
	ManagedByAnnotation = "whisperops.io/managed-by"
	pathAnnotation      = "whisperops.io/gcs-path"
	sizeAnnotation      = "whisperops.io/size-bytes"

	// readyLabel lets the order form offer only what can be ordered.
	readyLabel = "whisperops.io/ready"
)

// Layout says where the entities are in the repository, and what they say beside
// what the XDatasets do.
type Layout struct {
	Folder string // of the location file; the entities are below it. Slashes, no leading or trailing one
	Name   string // of the watcher
	Owner  string // Backstage entity reference, "group:default/platform"
}

// LocationFile is what Backstage is told to read.
func (l Layout) LocationFile() string { return path.Join(l.Folder, "catalog-info.yaml") }

// EntityFolder holds the entities' files and nothing else.
func (l Layout) EntityFolder() string { return path.Join(l.Folder, "resources") }

// EntityFile is where a dataset's entity is.
func (l Layout) EntityFile(dataset string) string {
	return path.Join(l.EntityFolder(), dataset+".yaml")
}

// head of every file, for whoever opens it in Git.
const head = "# Written by the dataset watcher from the XDatasets; changes made here are undone.\n"

// Entity returns the file of a dataset's entity. It holds nothing that moves
// while the object in the bucket does not.
func (l Layout) Entity(d v1alpha1.XDataset) ([]byte, error) {
	y, err := yaml.Marshal(map[string]any{
		"apiVersion": "backstage.io/v1alpha1",
		"kind":       "Resource",
		"metadata": map[string]any{
			"name":        d.Name,
			"title":       d.Spec.DisplayName,
			"description": files(d) + " of " + d.Status.SizeHuman + " at " + d.Spec.GCSPath,
			"annotations": map[string]string{
				ManagedByAnnotation: l.Name,
				pathAnnotation:      d.Spec.GCSPath,
				sizeAnnotation:      strconv.FormatInt(d.Spec.SizeBytes, 10),
			},
			"labels": map[string]string{readyLabel: strconv.FormatBool(d.Status.Ready)},
			"tags":   []string{"csv", "dataset"},
		},
		"spec": map[string]any{"type": "dataset", "owner": l.Owner},
	})
	return append([]byte(head), y...), err
}

// files says what a dataset is made of.
func files(d v1alpha1.XDataset) string {
	if d.Status.Files > 0 {
		return strconv.FormatInt(d.Status.Files, 10) + " CSVs"
	}
	return "CSV"
}

// Location returns the location file that lists the datasets' entities.
func (l Layout) Location(datasets []string) ([]byte, error) {
	targets := []string{}
	for _, d := range slices.Sorted(slices.Values(datasets)) {
		targets = append(targets, "./"+strings.TrimPrefix(strings.TrimPrefix(l.EntityFile(d), l.Folder), "/"))
	}
	y, err := yaml.Marshal(map[string]any{
		"apiVersion": "backstage.io/v1alpha1",
		"kind":       "Location",
		"metadata": map[string]any{
			"name":        l.Name,
			"description": "The datasets that agents can be ordered for",
			"annotations": map[string]string{ManagedByAnnotation: l.Name},
		},
		"spec": map[string]any{"targets": targets},
	})
	return append([]byte(head), y...), err
}

// Files returns the entities' files by path, without the location file.
func (l Layout) Files(datasets []v1alpha1.XDataset) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, d := range datasets {
		f, err := l.Entity(d)
		if err != nil {
			return nil, err
		}
		files[l.EntityFile(d.Name)] = f
	}
	return files, nil
}

// owned says whether a file in the entity folder was written by this watcher.
func (l Layout) owned(file []byte) bool {
	e := struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}{}
	return yaml.Unmarshal(file, &e) == nil && e.Metadata.Annotations[ManagedByAnnotation] == l.Name
}

// dataset returns the name of the dataset whose entity a file is, or "".
func (l Layout) dataset(file string) string {
	name, ok := strings.CutSuffix(strings.TrimPrefix(file, l.EntityFolder()+"/"), ".yaml")
	if !ok || strings.Contains(name, "/") {
		return ""
	}
	return name
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
