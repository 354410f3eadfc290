package sandbox

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed probe.py
var probeSource string

// walls are what the probe found: it runs like any code and tries what it must not.
type walls struct {
	Refused []string          `json:"refused"`
	Open    map[string]string `json:"open"` // what was possible, by wall
}

// wallNames are the walls that the probe tries; key is there only where a file
// holds the credential.
var wallNames = []string{"key", "files", "server", "network", "processes", "memory"}

// refusal says why no code is run, or nil.
func (w *walls) refusal(allowed bool) error {
	if len(w.Open) == 0 || allowed {
		return nil
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(w.Open)) {
		words = append(words, w.Open[name])
	}
	return fmt.Errorf("no code is run here, because a wall around it is missing: %s. Tell the platform team: the node's kernel lacks Landlock or seccomp; run the agent on another node, or set ALLOW_MISSING_WALLS=true on the sandbox to accept that", strings.Join(words, "; "))
}

// probe tries the walls.
func (r *runner) probe(ctx context.Context, key string) (*walls, error) {
	env := map[string]string{
		"PROBE_SERVER": strconv.Itoa(os.Getpid()),
		"PROBE_CANARY": filepath.Join(r.base, canaryFile),
	}
	if _, err := os.Stat(key); key != "" && err == nil {
		env["PROBE_KEY"] = key
	}
	o, err := r.run(ctx, job{Code: probeSource, Env: env, Memory: leastRun, Timeout: time.Minute})
	if err != nil {
		return nil, err
	}
	w := &walls{}
	if err := json.Unmarshal([]byte(o.Stdout.String()), w); err != nil {
		return nil, fmt.Errorf("cannot try the walls: the probe ended (%s) with %q, %q", o.Cause, o.Stdout.String(), o.Stderr.String())
	}
	return w, nil
}

// tryWalls probes until there is a verdict, and writes it where people look.
func (s *server) tryWalls(ctx context.Context) {
	for ctx.Err() == nil {
		w, err := s.runner.probe(ctx, s.set.credentials)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Error("Cannot try the walls", "error", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Second):
			}
			continue
		}
		for _, name := range wallNames {
			_, open := w.Open[name]
			if !open && !slices.Contains(w.Refused, name) {
				continue // it was not tried
			}
			standing := 1.0
			if open {
				standing = 0
			}
			s.metrics.wall.WithLabelValues(name).Set(standing)
		}
		s.metrics.landlock.Set(float64(s.runner.abi))
		level := s.log.Info
		if len(w.Open) > 0 {
			level = s.log.Error
		}
		level("Tried the walls around generated code", "standing", w.Refused, "missing", w.Open, "landlock-abi", s.runner.abi, "other-user", s.runner.user != 0, "runs-anyway", s.set.allowMissing && len(w.Open) > 0)
		s.walls.Store(w)
		return
	}
}
