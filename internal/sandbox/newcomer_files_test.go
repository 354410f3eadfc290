//go:build linux

package sandbox

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// brought are the files: what is in one differs from the others in all that makes CSV
// awkward.
func brought() []broughtFile {
	return []broughtFile{members(), orders(), passengers(), countries(), invoices(), plant(), survey(), visits(), expenses(), flats(), readings(), single()}
}

// written is a table as a file: with a separator, and cells as write makes them.
func written(t *table, comma rune, write func(column string, v any) string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma = comma
	_ = w.Write(t.columns)
	for _, row := range t.rows {
		var cells []string
		for i, v := range row {
			cells = append(cells, write(t.columns[i], v))
		}
		_ = w.Write(cells)
	}
	w.Flush()
	return b.Bytes()
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func cents(f float64) float64 { return math.Round(f*100) / 100 }

// members is a club's list out of a German spreadsheet: a byte order mark, semicolons,
// decimal commas, days before months, names with a semicolon in quotation marks.
func members() broughtFile {
	r := rand.New(rand.NewPCG(1, 1))
	t := &table{columns: []string{"Member No", "Full Name", "City", "Joined", "Fee EUR", "Age", "Active"}}
	for i := range 731 {
		var fee, age any = cents(20 + 180*r.Float64()), float64(18 + r.IntN(60))
		if r.IntN(9) == 0 {
			fee = nil
		}
		if r.IntN(12) == 0 {
			age = nil
		}
		if i == 400 {
			age = 97.0
		}
		day := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, r.IntN(1300))
		t.rows = append(t.rows, []any{float64(1000 + i), fmt.Sprintf("Meier; %s %d", pick(r, "Anna", "Jörg", "Zoë"), i), pick(r, "Köln", "Köln", "München", "Berlin", "Bad Homburg"), day, fee, age, pick(r, "yes", "yes", "no")})
	}
	content := written(t, ';', func(column string, v any) string {
		switch v := v.(type) {
		case time.Time:
			return v.Format("02.01.2006")
		case float64:
			if column == "Fee EUR" {
				return strings.ReplaceAll(strconv.FormatFloat(v, 'f', 2, 64), ".", ",")
			}
			return strconv.FormatFloat(v, 'f', -1, 64)
		case string:
			return v
		}
		return ""
	})
	in := func(year int) func(record) bool {
		return func(get record) bool { return get("Joined").(time.Time).Year() == year }
	}
	city, people := most(t.by("City", "", total))
	ages := func(get record) bool { return get("Age") != nil && get("Fee EUR") != nil }
	var days []time.Time
	t.each(func(get record) { days = append(days, get("Joined").(time.Time)) })
	first := slices.MinFunc(days, time.Time.Compare).Format(time.DateOnly)
	return broughtFile{name: "members.csv", content: append([]byte("\ufeff"), content...), questions: []asked{
		{ask: "How many members are there?", want: bold(731)},
		{ask: "What is the average age?", want: bold(average(t.values("Age")))},
		{ask: "What is the average fee by city?", want: shown(t.by("City", "Fee EUR", average))},
		{ask: "Which city has the most members?", want: []string{"**" + city + "**", figure(people)}},
		{ask: "Who is the oldest member?", want: []string{"**97**", "Meier; " + strings.TrimPrefix(t.rows[400][1].(string), "Meier; ")}},
		{ask: "How many members joined in 2023?", want: bold(t.count(in(2023)))},
		{ask: "How many members are younger than 30?", want: bold(t.count(where("Age", func(v float64) bool { return v < 30 })))},
		{ask: "What is the total fee of members in Köln?", want: bold(total(t.values("Fee EUR", is("City", "Köln"))))},
		{ask: "What's the total fee in Bad Homburg?", want: bold(total(t.values("Fee EUR", is("City", "Bad Homburg"))))},
		{ask: "How many members are active?", want: bold(t.count(is("Active", "yes")))},
		{ask: "What percentage of members is active?", want: bold(100 * t.count(is("Active", "yes")) / 731)},
		{ask: "How many inactive members are there?", refused: true},
		{ask: "How many values are missing in the fee column?", want: bold(t.count(absent("Fee EUR")))},
		{ask: "Show a histogram of the ages", want: []string{figure(average(t.values("Age"))), figure(middle(t.values("Age")))}, chart: true},
		{ask: "How many members joined per year?", want: []string{"| 2021 | " + figure(t.count(in(2021))) + " |", "| 2022 | " + figure(t.count(in(2022))) + " |"}, chart: true},
		{ask: "What is the median fee for active members in München?", want: bold(middle(t.values("Fee EUR", is("City", "München"), is("Active", "yes"))))},
		{ask: "Top 3 cities by number of members", want: []string{"| " + city + " | " + figure(people) + " |"}},
		{ask: "When did the first member join?", want: []string{"**" + first + "**"}},
		{ask: "Is there a correlation between age and fee?", want: bold(correlated(t.values("Age", ages), t.values("Fee EUR", ages)))},
		{ask: "Which cities are there?", want: []string{"Köln", "München", "Berlin", "Bad Homburg"}},
		{ask: "How many cities are there?", want: bold(4)},
		{ask: "What is the difference between the average fee in Köln and in Berlin?", want: []string{figure(math.Abs(average(t.values("Fee EUR", is("City", "Köln"))) - average(t.values("Fee EUR", is("City", "Berlin")))))}},
		{ask: "What will the total fee be next year?", refused: true},
		{ask: "Why do members leave?", refused: true},
		{ask: "What is the average salary?", refused: true},
		{ask: "What is the average age in Hamburg?", refused: true},
		{ask: "What is the average age of members who are not from Köln?", want: bold(average(t.values("Age", func(get record) bool { return get("City") != "Köln" })))},
		{ask: "What is the average fee of members in Köln or Berlin?", want: bold(average(t.values("Fee EUR", func(get record) bool { return get("City") == "Köln" || get("City") == "Berlin" })))},
	}}
}

// orders is a shop's export, packed: prices with a currency and thousands, times of
// day, per cents as text, cells of several lines, blanks around words.
func orders() broughtFile {
	r := rand.New(rand.NewPCG(2, 2))
	t := &table{columns: []string{"order_id", "ordered_at", "customer", "category", "price", "quantity", "discount", "express", "comment"}}
	for i := range 904 {
		var comment any
		if r.IntN(3) == 0 {
			comment = "please, ring\n\"twice\""
		}
		at := time.Date(2024, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(500*24*60)) * time.Minute)
		t.rows = append(t.rows, []any{
			fmt.Sprintf("A-%05d", i), at, pick(r, "Smith, John", "O'Neil, Mary", "Garcia, Ana", "Li, Wei", "Smith, Jane"), pick(r, "electronics", "garden", "toys", "toys"),
			cents(5 + 2400*r.Float64()*r.Float64()), float64(1 + r.IntN(5)), float64(5 * r.IntN(5)), pick(r, "true", "false", "false"), comment,
		})
	}
	content := written(t, ',', func(column string, v any) string {
		switch v := v.(type) {
		case time.Time:
			return v.Format("2006-01-02 15:04:05")
		case float64:
			switch column {
			case "price":
				s := "$" + figure(v)
				if v == math.Trunc(v) {
					s += ".00"
				}
				return s
			case "discount":
				return figure(v) + "%"
			}
			return figure(v)
		case string:
			return v
		}
		return "N/A"
	})
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(content)
	_ = z.Close()
	spender, spent := most(t.by("customer", "price", total))
	common, times := most(t.by("category", "", total))
	least := map[string]float64{}
	for name, v := range t.by("category", "price", average) {
		least[name] = -v
	}
	cheapest, _ := most(least)
	month := func(m string) func(record) bool {
		return func(get record) bool { return get("ordered_at").(time.Time).Format("2006-01") == m }
	}
	days := map[string]float64{}
	t.each(func(get record) { days[get("ordered_at").(time.Time).Weekday().String()]++ })
	busiest, _ := most(days)
	byMonth := map[string]float64{}
	t.each(func(get record) { byMonth[get("ordered_at").(time.Time).Format("2006-01")] += get("price").(float64) })
	richest, _ := most(byMonth)
	return broughtFile{name: "orders.csv", content: packed.Bytes(), questions: []asked{
		{ask: "How many orders are there?", want: bold(904)},
		{ask: "What is the total price?", want: bold(total(t.values("price")))},
		{ask: "What's the average price per category?", want: shown(t.by("category", "price", average))},
		{ask: "Which customer spent the most?", want: []string{"**" + spender + "**", "**" + figure(spent) + "**"}},
		{ask: "How many express orders are there?", want: bold(t.count(is("express", "true")))},
		{ask: "How many orders are not express?", want: bold(t.count(is("express", "false")))},
		{ask: "What is the most common category?", want: []string{"**" + common + "**", "**" + figure(times) + "**"}},
		{ask: "Show me the total price per month", want: []string{"| 2024-02 | " + figure(total(t.values("price", month("2024-02")))) + " |"}, chart: true},
		{ask: "How many orders have a price above 500?", want: bold(t.count(where("price", func(v float64) bool { return v > 500 })))},
		{ask: "How many orders cost more than $1,000?", want: bold(t.count(where("price", func(v float64) bool { return v > 1000 })))},
		{ask: "What is the average discount?", want: bold(average(t.values("discount")))},
		{ask: "How many different customers are there?", want: bold(5)},
		{ask: "What is the most expensive order?", want: bold(slices.Max(t.values("price")))},
		{ask: "What is the highest price in the toys category?", want: bold(slices.Max(t.values("price", is("category", "toys"))))},
		{ask: "How many orders have no comment?", want: bold(t.count(absent("comment")))},
		{ask: "What is the average price of electronics in 2024?", want: bold(average(t.values("price", is("category", "electronics"), func(get record) bool { return get("ordered_at").(time.Time).Year() == 2024 })))},
		{ask: "Which category is the cheapest on average?", want: []string{"**" + cheapest + "**"}},
		{ask: "How many orders did \"Smith, John\" make?", want: bold(t.count(is("customer", "Smith, John")))},
		{ask: "How many orders are there per customer?", want: shown(t.by("customer", "", total))},
		{ask: "On which day of the week are there the most orders?", want: []string{"**" + busiest + "**"}},
		{ask: "What is the total profit?", refused: true},
		{ask: "What percentage of the toys orders is express?", want: bold(100 * t.count(is("category", "toys"), is("express", "true")) / t.count(is("category", "toys")))},
		{ask: "What share of the orders falls into each category?", refused: true},
		{ask: "percentage of orders by category", want: []string{"| " + common + " | " + figure(100*times/904) + " |"}},
		{ask: "Which month had the highest total price?", want: []string{"**" + richest + "**"}},
		{ask: "What is the average and the largest price?", want: []string{figure(average(t.values("price"))), figure(slices.Max(t.values("price")))}},
		{ask: "What is the price times the quantity?", refused: true},
		{ask: "How many orders were there in March 2024?", want: bold(t.count(month("2024-03")))},
		{ask: "How many orders were there between January and March 2024?", refused: true},
		{ask: "What is the total price of orders before 2025?", want: bold(total(t.values("price", func(get record) bool { return get("ordered_at").(time.Time).Year() < 2025 })))},
		{ask: "Draw a bar chart of the total price by category", want: shown(t.by("category", "price", total)), chart: true},
		{ask: "Which columns does the file have?", want: []string{"ordered_at", "express"}},
	}}
}
