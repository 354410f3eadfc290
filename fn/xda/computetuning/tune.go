package computetuning

import (
	"fmt"
	"math"
	"math/bits"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/csvfile"
)

// A Need is what is known about a CSV that has to be read.
type Need struct {
	// Bytes of the CSV as it is read: unpacked, where it is stored packed.
	Bytes int64
	// Factor is what pandas takes to read all of it, as a multiple of Bytes; 0 where
	// nobody knows.
	Factor float64
}

// NeedOf returns what is known about a dataset.
func NeedOf(d v1alpha1.Dataset) Need {
	return Need{Bytes: d.SizeBytes, Factor: d.MemoryFactor}
}

// A Verdict is how much memory the sandbox gets, and how much it should have.
type Verdict struct {
	v1alpha1.Tuning

	// NeededGi is what the dataset asks for in GiB, at least 1.
	NeededGi int64
	// MaxGi is the cap in GiB.
	MaxGi int64
	// Estimated says that the estimate of the dataset's cells was the larger one.
	Estimated bool
}

// maxFactor is more than any CSV has: a cell of one byte takes 20 at least.
const maxFactor = 100

// Tune returns the memory for a CSV in whole GiB, at least 1 and at most maxGi: the
// larger of 3.5 times its size, for the data frame and the copies that pandas makes
// of it, and what a sandbox needs to read it as its cells tell. Every need has a
// verdict; a size below 0 counts as 0, a factor that is no number as none.
func Tune(n Need, maxGi int32) Verdict {
	// 3.5 x size / 2^30 is 7 x size / 2^31; 7 x size needs up to 66 bits.
	hi, lo := bits.Mul64(7, uint64(max(n.Bytes, 0)))
	gi, rest := bits.Div64(hi, lo, 1<<31)
	if rest > 0 {
		gi++
	}
	v := Verdict{NeededGi: max(int64(gi), 1), MaxGi: int64(maxGi)} //nolint:gosec // at most 7 x 2^63 / 2^31
	if n.Factor > 0 && n.Bytes > 0 {                               // so that NaN is none
		read := min(n.Factor, maxFactor) * float64(n.Bytes)
		estimated := int64(math.Ceil(csvfile.SandboxBytes(read) / (1 << 30))) // below 2^40
		if estimated > v.NeededGi {
			v.NeededGi, v.Estimated = estimated, true
		}
	}
	v.SandboxMemMi = min(v.NeededGi, v.MaxGi) * 1024
	return v
}

// Condition says whether the cap bites. Its figures move only with the dataset.
func (v Verdict) Condition() metav1.Condition {
	if v.NeededGi > v.MaxGi {
		why := "3.5 times its size"
		if v.Estimated {
			why = "what its cells are estimated to take"
		}
		return metav1.Condition{
			Type: v1alpha1.ConditionDatasetFitsSandbox, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonSandboxCapped,
			Message: fmt.Sprintf("The dataset asks for %d GiB of sandbox memory (%s), and the cap is %d GiB: loading it whole may fail. Order a smaller dataset, or let the platform raise maxSandboxGi, the input of step compute-tuning", v.NeededGi, why, v.MaxGi),
		}
	}
	return metav1.Condition{
		Type: v1alpha1.ConditionDatasetFitsSandbox, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDatasetFits,
		Message: fmt.Sprintf("The sandbox has the %d GiB of memory that the dataset asks for", v.NeededGi),
	}
}

// NoDataset is the condition while there is no dataset to judge.
func NoDataset() metav1.Condition {
	return metav1.Condition{
		Type: v1alpha1.ConditionDatasetFitsSandbox, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonNoDataset,
		Message: "There is no valid dataset yet; condition DatasetValid says why",
	}
}
