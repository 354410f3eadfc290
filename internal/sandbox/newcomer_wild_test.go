//go:build linux

package sandbox

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/encoding/charmap"
)

// invoices come out of an old German program: Windows-1252, packed, euros with points
// between thousands, a separator at the end of every row but the header.
func invoices() broughtFile {
	r := rand.New(rand.NewPCG(5, 5))
	t := &table{columns: []string{"Beleg", "Kunde", "Betrag", "Straße", "Datum"}}
	for i := range 640 {
		var street any = pick(r, "Große Allee", "Hauptstraße", "Am Bühl")
		if r.IntN(7) == 0 {
			street = nil
		}
		day := time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, r.IntN(1000))
		t.rows = append(t.rows, []any{fmt.Sprintf("RE/%d", 70000+i), pick(r, "Müller", "Müller", "Groß & Söhne", "Café Löwe"), cents(10 + 9000*r.Float64()*r.Float64()), street, day})
	}
	content := written(t, ';', func(_ string, v any) string {
		switch v := v.(type) {
		case time.Time:
			return v.Format("02.01.2006")
		case float64:
			whole := fmt.Sprintf("%.2f", v)
			if v >= 1000 {
				whole = whole[:len(whole)-6] + "." + whole[len(whole)-6:]
			}
			at := len(whole) - 3
			return whole[:at] + "," + whole[at+1:] + " €"
		case string:
			return v
		}
		return ""
	})
	header, rows, _ := strings.Cut(string(content), "\n")
	old, err := charmap.Windows1252.NewEncoder().String(header + "\n" + strings.ReplaceAll(rows, "\n", ";\n"))
	if err != nil {
		panic(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(old))
	_ = z.Close()
	in := func(layout, at string) func(record) bool {
		return func(get record) bool { return get("Datum").(time.Time).Format(layout) == at }
	}
	best, sum := most(t.by("Kunde", "Betrag", total))
	return broughtFile{name: "invoices.csv", content: packed.Bytes(), questions: []asked{
		{ask: "How many rows are there?", want: bold(640)},
		{ask: "What is the total Betrag?", want: bold(total(t.values("Betrag")))},
		{ask: "What is the average Betrag by Kunde?", want: shown(t.by("Kunde", "Betrag", average))},
		{ask: "What is the total Betrag of Müller?", want: bold(total(t.values("Betrag", is("Kunde", "Müller"))))},
		{ask: "What is the largest Betrag?", want: bold(slices.Max(t.values("Betrag")))},
		{ask: "Which Kunde has the highest total Betrag?", want: []string{"**" + best + "**", "**" + figure(sum) + "**"}},
		{ask: "How many rows are there per Kunde?", want: shown(t.by("Kunde", "", total))},
		{ask: "How many different Kunde are there?", want: bold(3)},
		{ask: "How many rows are there in March 2023?", want: bold(t.count(in("2006-01", "2023-03")))},
		{ask: "Show me the total Betrag per month", want: []string{"| 2022-02 | " + figure(total(t.values("Betrag", in("2006-01", "2022-02")))) + " |"}, chart: true},
		{ask: "How many values are missing in Straße?", want: bold(t.count(absent("Straße")))},
		{ask: "What is the total Betrag in 2023 for Café Löwe?", want: bold(total(t.values("Betrag", in("2006", "2023"), is("Kunde", "Café Löwe"))))},
		{ask: "How many rows have a Betrag above 5,000?", want: bold(t.count(where("Betrag", func(v float64) bool { return v > 5000 })))},
		{ask: "What is the total Umsatz?", refused: true},
	}}
}

// plant is long and mostly empty, and has columns called what code calls things.
func plant() broughtFile {
	r := rand.New(rand.NewPCG(6, 6))
	t := &table{columns: []string{"index", "class", "size"}}
	for i := range 24 {
		t.columns = append(t.columns, fmt.Sprintf("sensor_%d", i+1))
	}
	for i := range 200_000 {
		row := make([]any, len(t.columns))
		row[0], row[1], row[2] = float64(i), pick(r, "alpha", "beta", "beta", "gamma"), float64(r.IntN(900))
		row[3+r.IntN(24)], row[3+r.IntN(24)] = cents(100*r.Float64()), cents(100*r.Float64())
		t.rows = append(t.rows, row)
	}
	class, n := most(t.by("class", "", total))
	return broughtFile{name: "plant.csv", content: written(t, ',', plainCell), questions: []asked{
		{ask: "How many rows are there?", want: bold(200_000)},
		{ask: "What is the average sensor_3?", want: bold(average(t.values("sensor_3")))},
		{ask: "How many rows are there per class?", want: shown(t.by("class", "", total))},
		{ask: "Which class has the most rows?", want: []string{"**" + class + "**", figure(n)}},
		{ask: "What is the average size by class?", want: shown(t.by("class", "size", average))},
		{ask: "How many values are missing in sensor_7?", want: bold(t.count(absent("sensor_7")))},
		{ask: "What is the largest sensor_24 in class gamma?", want: bold(slices.Max(t.values("sensor_24", is("class", "gamma"))))},
		{ask: "How many rows have a size above 800?", want: bold(t.count(where("size", func(v float64) bool { return v > 800 })))},
		{ask: "What is the total size?", want: bold(total(t.values("size")))},
		{ask: "What is the median of sensor_10 where class is beta?", want: bold(middle(t.values("sensor_10", is("class", "beta"))))},
		{ask: "Which columns have missing values?", want: []string{"sensor_1", figure(t.count(absent("sensor_1")))}},
		{ask: "Show a histogram of the size", want: []string{figure(average(t.values("size")))}, chart: true},
		{ask: "What is the average sensor_25?", refused: true},
	}}
}

// survey is wide, has a name twice, and figures in more ways than one.
func survey() broughtFile {
	r := rand.New(rand.NewPCG(7, 7))
	t := &table{columns: []string{"Region", "Score", "Score", "Income", "Weight", "Balance"}}
	for i := range 294 {
		t.columns = append(t.columns, fmt.Sprintf("q%d", i+1))
	}
	for range 420 {
		row := make([]any, len(t.columns))
		row[0], row[1], row[2] = pick(r, "North", "South", "East"), float64(r.IntN(100)), float64(1000+r.IntN(100))
		row[3], row[4], row[5] = float64(900+r.IntN(90_000)), float64(1+r.IntN(99)), cents(3000*(r.Float64()-0.5))
		for i := 6; i < len(row); i++ {
			row[i] = float64(1 + r.IntN(5))
		}
		t.rows = append(t.rows, row)
	}
	content := written(t, ',', func(column string, v any) string {
		f, is := v.(float64)
		switch {
		case !is:
			return v.(string)
		case column == "Income":
			return "USD " + figure(f)
		case column == "Weight":
			return figure(f) + map[bool]string{true: " kg", false: " g"}[f > 50]
		case column == "Balance" && f < 0:
			return "(" + figure(-f) + ")"
		}
		return figure(f)
	})
	region, _ := most(t.by("Region", "Income", average))
	return broughtFile{name: "survey.csv", content: content, questions: []asked{
		{ask: "How many rows are there?", want: bold(420)},
		{ask: "What is the average Score?", want: bold(average(t.values("Score")))},
		{ask: "What is the total income?", want: bold(total(t.values("Income")))},
		{ask: "What is the average income by region?", want: shown(t.by("Region", "Income", average))},
		{ask: "Which region has the highest income on average?", want: []string{"**" + region + "**"}},
		{ask: "What is the total balance?", want: bold(total(t.values("Balance")))},
		{ask: "What is the average balance in the North?", want: bold(average(t.values("Balance", is("Region", "North"))))},
		{ask: "What is the average weight?", never: bold(average(t.values("Weight")))},
		{ask: "What is the average q200?", want: bold(average(t.values("q200")))},
		{ask: "What is the average of q293 by region?", want: shown(t.by("Region", "q293", average))},
		{ask: "How many rows have an income above 50,000?", want: bold(t.count(where("Income", func(v float64) bool { return v > 50_000 })))},
		{ask: "How many rows are there in each region?", want: shown(t.by("Region", "", total))},
		{ask: "What is the highest income in the South?", want: bold(slices.Max(t.values("Income", is("Region", "South"))))},
		{ask: "What is the average q295?", refused: true},
	}}
}
