package scale

import (
	"fmt"
	"strconv"
	"strings"
)

// Beside compares two runs of make scale by what they printed: a table of the figures of now,
// those of an earlier build, and their ratios.
func Beside(now, base string) (string, error) {
	n, err := printed(now)
	if err != nil {
		return "", fmt.Errorf("this build: %w", err)
	}
	o, err := printed(base)
	if err != nil {
		return "", fmt.Errorf("the earlier build: %w", err)
	}
	if strings.Join(n[0], "|") != strings.Join(o[0], "|") {
		return "", fmt.Errorf("one was measured with %v agents, the other with %v", n[0][1:], o[0][1:])
	}
	was := map[string][]string{}
	for _, row := range o {
		was[row[0]] = row[1:]
	}
	var b strings.Builder
	row := func(cells ...string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	row(n[0]...)
	row("---" + strings.Repeat(" | ---:", len(n[0])-1))
	for _, r := range n[1:] {
		before, both := was[r[0]]
		if !both {
			continue // one of them knows no such figure
		}
		cells := []string{r[0]}
		for i, v := range r[1:] {
			cells = append(cells, ratio(v, before[i]))
		}
		row(cells...)
	}
	return b.String(), nil
}

// ratio is one figure beside another.
func ratio(now, base string) string {
	text := now + " of " + base
	n, errN := strconv.ParseFloat(now, 64)
	o, errO := strconv.ParseFloat(base, 64)
	if errN != nil || errO != nil || o == 0 {
		return text
	}
	return fmt.Sprintf("%s: **%.2f**", text, n/o)
}

// printed returns the rows of the last table of figures in a log, the numbers of agents first;
// lines that a test prints are indented. It has one at least.
func printed(log string) ([][]string, error) {
	var table [][]string
	inside := false
	for line := range strings.Lines(log) {
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "| "), " |"), " | ")
		switch {
		case !strings.HasPrefix(strings.TrimSpace(line), "|"):
			inside = false
		case cells[0] == "agents":
			table, inside = [][]string{cells}, true
		case inside && cells[0] != "---":
			if len(cells) != len(table[0]) {
				return nil, fmt.Errorf("%q has %d figures for %d numbers of agents", cells[0], len(cells)-1, len(table[0])-1)
			}
			table = append(table, cells)
		}
	}
	if len(table) < 2 {
		return nil, fmt.Errorf("it printed no figures: see its log")
	}
	return table, nil
}
