package sandbox

import (
	"fmt"
	"time"
)

// need is what a run should have that reads the file whole, in bytes.
func (f *file) need() int64 { return f.Bytes * 5 }

// advice says how to read the file in memory bytes.
func (f *file) advice(memory int64) string {
	return "Read only the columns you need (usecols), give types (dtype), or read in pieces (chunksize)"
}

func (f *file) guard(memory int64) *guard { return nil }

func (s *server) description(f *file, memory int64) string {
	return fmt.Sprintf("Dataset %s, generation %d of %s, %s.", s.set.datasetName, f.Generation, f.Updated.Format(time.RFC3339), mi(f.Bytes))
}
