// Package simulation counts spend in made-up worlds whose truth is known: agents
// whose processes come, go, restart and die, stores that forget, answer late or
// not at all, clocks that are wrong, and status writes that are lost. The PromQL
// engine and the TSDB are Prometheus' own, as libraries; time is simulated. A
// world is a function of its seed.
package simulation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/query"
)

// A Store is a Prometheus without a process.
type Store struct {
	dir    string
	db     *tsdb.DB
	engine *promql.Engine

	Date    func() time.Time // the server's clock; nil: it doesn't say
	Failure error            // answers every query while it is set

	Queries int // since the store was opened
	Samples int // that queries read
}

// An Export is a sample on its way to a store.
type Export struct {
	Arrives int64 // Unix milliseconds
	At      int64
	Labels  labels.Labels
	Value   float64
}

// OpenStore returns an empty store that keeps samples for a time (0: for ever)
// and takes them up to outOfOrder late.
func OpenStore(retention, outOfOrder time.Duration) (*Store, error) {
	dir, err := os.MkdirTemp("", "simulation-")
	if err != nil {
		return nil, err
	}
	o := tsdb.DefaultOptions()
	o.WALSegmentSize = -1 // nothing has to survive
	o.NoLockfile = true
	o.StripeSize = 64
	o.RetentionDuration = retention.Milliseconds()
	o.OutOfOrderTimeWindow = outOfOrder.Milliseconds()
	db, err := tsdb.Open(dir, nil, nil, o, nil)
	if err != nil {
		return nil, err
	}
	db.DisableCompactions() // Settle does it, when time says so
	return &Store{dir: dir, db: db, engine: promql.NewEngine(promql.EngineOpts{
		MaxSamples:       50_000_000,
		Timeout:          time.Minute,
		LookbackDelta:    5 * time.Minute,
		EnableAtModifier: true, // every server has it; an engine by itself has to be told
		Parser:           parser.NewParser(parser.Options{}),
	})}, nil
}

// Close removes the store.
func (s *Store) Close() error {
	err := s.db.Close()
	if rm := os.RemoveAll(s.dir); err == nil {
		err = rm
	}
	return err
}

// Append stores samples. What is out of order beyond the window is refused, as
// Prometheus does.
func (s *Store) Append(ctx context.Context, exports []Export) error {
	app := s.db.Appender(ctx)
	for _, e := range exports {
		_, err := app.Append(0, e.Labels, e.At, e.Value)
		if errors.Is(err, storage.ErrDuplicateSampleForTimestamp) {
			continue // two processes wrote one series at once; the first stays
		}
		if err != nil {
			_ = app.Rollback()
			return fmt.Errorf("cannot store %s at %d: %w", e.Labels, e.At, err)
		}
	}
	return app.Commit()
}

// Compact writes blocks and drops those beyond the retention.
func (s *Store) Compact(ctx context.Context) error { return s.db.Compact(ctx) }

// Oldest is the time from which on the store has samples.
func (s *Store) Oldest() time.Time {
	oldest := s.db.Head().MinTime()
	for _, b := range s.db.Blocks() {
		oldest = min(oldest, b.MinTime())
	}
	return time.UnixMilli(oldest).UTC()
}

// Query implements query.Querier.
func (s *Store) Query(ctx context.Context, promQL string, at time.Time) (query.Answer, error) {
	s.Queries++
	if s.Failure != nil {
		return query.Answer{}, s.Failure
	}
	q, err := s.engine.NewInstantQuery(ctx, s.db, nil, promQL, at)
	if err != nil {
		return query.Answer{}, err
	}
	defer q.Close()
	r := q.Exec(ctx)
	if r.Err != nil {
		return query.Answer{}, r.Err
	}
	if len(r.Warnings) > 0 {
		return query.Answer{}, fmt.Errorf("the engine warns: %v", r.Warnings)
	}
	s.Samples += int(q.Stats().Samples.TotalSamples)
	a := query.Answer{}
	if s.Date != nil {
		a.Date = s.Date()
	}
	switch v := r.Value.(type) {
	case promql.Matrix:
		for _, m := range v {
			sr := count.Series{Labels: m.Metric.Map()}
			for _, p := range m.Floats {
				sr.Samples = append(sr.Samples, count.Sample{At: p.T, Value: p.F})
			}
			a.Series = append(a.Series, sr)
		}
	case promql.Vector:
		for _, m := range v {
			a.Series = append(a.Series, count.Series{Labels: m.Metric.Map(), Samples: []count.Sample{{At: m.T, Value: m.F}}})
		}
	default:
		return a, fmt.Errorf("the engine answers with a %s", r.Value.Type())
	}
	return a, nil
}
