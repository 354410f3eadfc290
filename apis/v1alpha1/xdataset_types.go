package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// An XDataset records one CSV of the datasets bucket, or one folder of CSVs with the same
// columns. The dataset watcher makes
// it and alone owns its status; people order agents for it by its name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,path=xdatasets,singular=xdataset,shortName=xds;datasets
// +kubebuilder:printcolumn:name="SIZE",type=string,JSONPath=`.status.sizeHuman`
// +kubebuilder:printcolumn:name="READY",type=boolean,JSONPath=`.status.ready`
// +kubebuilder:printcolumn:name="LAST_SEEN",type=date,JSONPath=`.status.lastSeen`
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.spec.sizeBytes > 0 || !has(self.status) || !has(self.status.ready) || !self.status.ready",message="an empty file is never ready: sizeBytes must be at least 1 where status.ready is true"
type XDataset struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   XDatasetSpec   `json:"spec"`
	Status XDatasetStatus `json:"status,omitempty"`
}

// XDatasetSpec says where a CSV is and how large.
type XDatasetSpec struct {
	// GCSPath of the CSV, with the object's own name: gs://<bucket>/<object>.csv; or of a
	// folder, which ends in a slash: gs://<bucket>/<folder>/. The CSVs directly in it are
	// one table then, in the order of their names. A bucket's name has at most 222
	// characters and an object's 1024.
	//
	// +kubebuilder:validation:Pattern=`^gs://.+(\.csv|[^/]/)$`
	// +kubebuilder:validation:MaxLength=1252
	GCSPath string `json:"gcsPath"`

	// SizeBytes of the CSV, or of all CSVs of the folder. 0 is recorded too, so that an empty upload is seen;
	// it is never ready.
	//
	// +kubebuilder:validation:Minimum=0
	SizeBytes int64 `json:"sizeBytes"`

	// DisplayName is how people call the dataset: "California Housing".
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	DisplayName string `json:"displayName"`
}

// XDatasetStatus is what the dataset watcher last saw.
type XDatasetStatus struct {
	// Ready says whether an agent may be ordered for the dataset. Condition Ready
	// says why not.
	//
	// +optional
	Ready bool `json:"ready"`

	// SizeHuman is the size as a person reads it: "1.9 MiB".
	//
	// +optional
	SizeHuman string `json:"sizeHuman,omitempty"`

	// LastSeen is when a listing of the bucket last held the object, on a grid of
	// one hour: every write of a dataset wakes every agent that uses it.
	//
	// +optional
	LastSeen *metav1.Time `json:"lastSeen,omitempty"`

	// Generation of the object in Google Cloud Storage whose first bytes were
	// read, as a decimal string. It changes with every upload. Of a folder: a number made of
	// the names and generations of its files, which changes when any of them does.
	//
	// +optional
	Generation string `json:"generation,omitempty"`

	// CRC32C of that generation, base64 in big-endian byte order as Google Cloud
	// Storage writes it. Absent of a folder.
	//
	// +optional
	CRC32C string `json:"crc32c,omitempty"`

	// UnpackedBytes is what the object unpacks to, in bytes, where it is stored with
	// Content-Encoding gzip: that is what readers get, and what spec.sizeBytes is then.
	//
	// +optional
	UnpackedBytes *int64 `json:"unpackedBytes,omitempty"`

	// Files is how many CSVs the folder holds. Absent of a single CSV.
	//
	// +optional
	Files int64 `json:"files,omitempty"`

	// Shape of the CSV, told from its first megabyte. Absent until that was read.
	//
	// +optional
	Shape *DatasetShape `json:"shape,omitempty"`

	// Conditions of the dataset: Ready, Verified and NameUnique.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DatasetShape is how large a CSV is as a table, and in memory.
type DatasetShape struct {
	// Rows without the header, estimated for a file of more than a megabyte.
	//
	// +optional
	Rows int64 `json:"rows,omitempty"`

	// Columns of the header. 0: the file's first megabyte holds no row.
	//
	// +optional
	Columns int64 `json:"columns,omitempty"`

	// MemoryFactor is what pandas takes at its peak to read the whole CSV, as a
	// multiple of spec.sizeBytes: 1 for long numbers, 4 for a usual mix, 18 for cells that
	// are mostly empty. An estimate, right to within a third. 0: unknown.
	//
	// +optional
	MemoryFactor float64 `json:"memoryFactor,omitempty"`
}

// XDatasetList is a list of datasets.
//
// +kubebuilder:object:root=true
type XDatasetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []XDataset `json:"items"`
}
