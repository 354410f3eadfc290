//go:build linux

package sandbox

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Files as people keep them by hand: cells that stand for nothing, the same thing in
// several spellings, days as everybody writes them, numbers that are names.

// visits of a gym: post codes that begin with a zero, days in words, a dash where
// nobody paid, names in several scripts, notes as long as a page.
func visits() broughtFile {
	r := rand.New(rand.NewPCG(8, 8))
	t := &table{columns: []string{"Visit Date", "Member", "Postcode", "Plan", "Paid", "Amount", "Notes"}}
	for range 520 {
		day := time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, r.IntN(700))
		var amount, notes any = cents(5 + 3000*r.Float64()*r.Float64()), nil
		paid := "Y"
		if r.IntN(6) == 0 {
			amount, paid = nil, "N"
		}
		if r.IntN(8) == 0 {
			notes = strings.Repeat("Complained about the showers, again; wants a call. ", 1+r.IntN(60))
		}
		t.rows = append(t.rows, []any{day, pick(r, "Łukasz Żak", "Zoë Ångström", "李伟", "Søren O'Brien", "Ана Петровић"), pick(r, "04109", "04109", "01067", "10115"), pick(r, "Basic", "Premium", "Premium", "Student"), paid, amount, notes})
	}
	content := written(t, ',', func(column string, v any) string {
		switch v := v.(type) {
		case time.Time:
			return v.Format("2 Jan 2006")
		case float64:
			return figure(v)
		case string:
			return v
		}
		if column == "Amount" {
			return "-"
		}
		return ""
	})
	in := func(layout, at string) func(record) bool {
		return func(get record) bool { return get("Visit Date").(time.Time).Format(layout) == at }
	}
	member, most1 := most(t.by("Member", "", total))
	spender, spent := most(t.by("Member", "Amount", total))
	return broughtFile{name: "visits.csv", content: content, questions: []asked{
		{ask: "How many visits were there?", want: bold(520)},
		{ask: "What's the total amount?", want: bold(total(t.values("Amount")))},
		{ask: "How many visits are there per postcode?", want: shown(t.by("Postcode", "", total))},
		{ask: "How many visits came from postcode 04109?", want: bold(t.count(is("Postcode", "04109")))},
		{ask: "What is the average amount in 01067?", want: bold(average(t.values("Amount", is("Postcode", "01067"))))},
		{ask: "How many values are missing in Amount?", want: bold(t.count(absent("Amount")))},
		{ask: "How many visits were there in April 2023?", want: bold(t.count(in("Jan 2006", "Apr 2023")))},
		{ask: "Which member came most often?", want: []string{"**" + member + "**", figure(most1)}},
		{ask: "Who spent the most in total?", want: []string{"**" + spender + "**", "**" + figure(spent) + "**"}},
		{ask: "How many visits did 李伟 have?", want: bold(t.count(is("Member", "李伟")))},
		{ask: "What is the total amount per month?", want: []string{"| 2023-02 | " + figure(total(t.values("Amount", in("2006-01", "2023-02")))) + " |"}, chart: true},
		{ask: "How many visits were not paid?", want: bold(t.count(is("Paid", "N")))},
		{ask: "How much did Zoë Ångström pay?", want: bold(total(t.values("Amount", is("Member", "Zoë Ångström"))))},
		{ask: "What is the range of Amount?", want: []string{figure(slices.Min(t.values("Amount"))), figure(slices.Max(t.values("Amount")))}},
		{ask: "How many visits are there by plan?", want: shown(t.by("Plan", "", total))},
		{ask: "What is the average postcode?", refused: true},
		{ask: "How many visits have notes?", want: bold(520 - t.count(absent("Notes")))},
		{ask: "Show the first 5 rows", want: []string{t.rows[4][1].(string), "first 5 rows of the file"}},
		{ask: "What's the date range?", want: []string{"earliest", slices.MaxFunc(t.rows, func(a, b []any) int { return a[0].(time.Time).Compare(b[0].(time.Time)) })[0].(time.Time).Format(time.DateOnly)}},
		{ask: "Which month had the fewest visits?", want: func() []string {
			fewest := map[string]float64{}
			t.each(func(get record) { fewest[get("Visit Date").(time.Time).Format("2006-01")]-- })
			m, n := most(fewest)
			return []string{"**" + m + "**", "**" + figure(-n) + "**"}
		}()},
		{ask: "How many columns are there?", want: bold(7)},
		{ask: "What was the earliest visit date?", want: []string{"**" + slices.MinFunc(t.rows, func(a, b []any) int { return a[0].(time.Time).Compare(b[0].(time.Time)) })[0].(time.Time).Format(time.DateOnly) + "**"}},
	}}
}

// expenses are kept by several people: each writes days and kinds as they like, some
// rows stand there twice, debts have a minus.
func expenses() broughtFile {
	r := rand.New(rand.NewPCG(9, 9))
	t := &table{columns: []string{"Date", "Category", "Amount (GBP)", "VAT", "Approved", "Description"}}
	var lines []string
	for i := range 300 {
		day := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, r.IntN(366))
		var approved any = pick(r, "Yes", "yes", "No")
		if r.IntN(5) == 0 {
			approved = nil
		}
		category, amount, vat := pick(r, "Travel", "Travel", "Meals & Drinks", "Office"), cents(1800*(r.Float64()-0.1)), pick(r, 5.0, 12.5, 20.0)
		t.rows = append(t.rows, []any{day, category, amount, vat, approved, fmt.Sprintf("receipt %d", i)})
		mess := pick(r, category, category, strings.ToUpper(category), strings.ToLower(category)+" ")
		minus := ""
		if amount < 0 {
			minus = "-"
		}
		said := ""
		if approved != nil {
			said = approved.(string)
		}
		text := figure(max(amount, -amount))
		lines = append(lines, fmt.Sprintf("%s,%s,\"%s£%s\",%s%%,%s,receipt %d", pick(r, day.Format("2006-01-02"), day.Format("02/01/2006"), day.Format("2 January 2006")), mess, minus, text, strconv.FormatFloat(vat, 'f', -1, 64), said, i))
		if i%20 == 0 {
			t.rows = append(t.rows, t.rows[len(t.rows)-1])
			lines = append(lines, lines[len(lines)-1])
		}
	}
	content := []byte(strings.Join(t.columns, ",") + "\n" + strings.Join(lines, "\n") + "\n")
	month := func(m string) func(record) bool {
		return func(get record) bool { return get("Date").(time.Time).Format("2006-01") == m }
	}
	return broughtFile{name: "expenses.csv", content: content, questions: []asked{
		{ask: "How many expenses are there?", want: bold(315)},
		{ask: "How many duplicate rows are there?", want: bold(15)},
		{ask: "Are there any duplicates?", want: bold(15)},
		{ask: "What is the total amount by category?", want: shown(t.by("Category", "Amount (GBP)", total))},
		{ask: "How much was spent on travel?", want: bold(total(t.values("Amount (GBP)", is("Category", "Travel"))))},
		{ask: "What is the total amount without VAT?", refused: true},
		{ask: "What's the sum of amount excluding travel?", want: bold(total(t.values("Amount (GBP)", func(get record) bool { return get("Category") != "Travel" })))},
		{ask: "What is the share of travel in the total amount?", want: bold(100 * total(t.values("Amount (GBP)", is("Category", "Travel"))) / total(t.values("Amount (GBP)")))},
		{ask: "What is the average VAT?", want: bold(average(t.values("VAT")))},
		{ask: "How many expenses have a VAT of 12.5%?", want: bold(t.count(is("VAT", 12.5)))},
		{ask: "How many expenses are negative?", refused: true},
		{ask: "How many expenses have a negative amount?", want: bold(t.count(where("Amount (GBP)", func(v float64) bool { return v < 0 })))},
		{ask: "What is the total amount in March 2024?", want: bold(total(t.values("Amount (GBP)", month("2024-03"))))},
		{ask: "How many expenses were approved?", want: bold(t.count(func(get record) bool { return get("Approved") == "Yes" || get("Approved") == "yes" }))},
		{ask: "What's the largest amount for Meals & Drinks?", want: bold(slices.Max(t.values("Amount (GBP)", is("Category", "Meals & Drinks"))))},
		{ask: "How many different categories are there?", want: bold(3)},
		{ask: "Which category costs the most in total?", want: func() []string {
			c, v := most(t.by("Category", "Amount (GBP)", total))
			return []string{"**" + c + "**", "**" + figure(v) + "**"}
		}()},
		{ask: "How many rows are missing Approved?", want: bold(t.count(absent("Approved")))},
		{ask: "How many expenses have an amount over £1,000?", want: bold(t.count(where("Amount (GBP)", func(v float64) bool { return v > 1000 })))},
		{ask: "Show the number of expenses per month", want: []string{"| 2024-05 | " + figure(t.count(month("2024-05"))) + " |"}, chart: true},
	}}
}

// flats out of a French spreadsheet: semicolons, a blank between thousands, decimal
// commas and per cents, units and symbols in the names of columns.
func flats() broughtFile {
	r := rand.New(rand.NewPCG(10, 10))
	t := &table{columns: []string{"Réf.", "Quartier", "Surface (m²)", "Loyer €/mois", "Hausse %", "Étage", "Ascenseur"}}
	for i := range 410 {
		var floor any = float64(r.IntN(9))
		if r.IntN(10) == 0 {
			floor = nil
		}
		t.rows = append(t.rows, []any{fmt.Sprintf("%05d", 17+i), pick(r, "Belleville", "Saint-Michel", "Île de la Cité", "Saint-Michel"), cents(15 + 120*r.Float64()), cents(600 + 2500*r.Float64()), cents(9 * (r.Float64() - 0.2)), floor, pick(r, "oui", "non", "oui")})
	}
	content := written(t, ';', func(column string, v any) string {
		switch v := v.(type) {
		case float64:
			if column == "Étage" {
				return figure(v)
			}
			s := strings.NewReplacer(",", "\u202f", ".", ",").Replace(figure(v))
			if v != 0 && v < 1 && v > -1 {
				s = strings.Replace(strconv.FormatFloat(v, 'f', 2, 64), ".", ",", 1)
			}
			return s + map[string]string{"Hausse %": " %", "Loyer €/mois": "\u00a0€"}[column]
		case string:
			return v
		}
		return ""
	})
	lift := is("Ascenseur", "oui")
	return broughtFile{name: "flats.csv", content: append([]byte("\ufeff"), content...), questions: []asked{
		{ask: "How many rows are in the file?", want: bold(410)},
		{ask: "What is the average loyer?", want: bold(average(t.values("Loyer €/mois")))},
		{ask: "What is the average surface by quartier?", want: shown(t.by("Quartier", "Surface (m²)", average))},
		{ask: "What is the median loyer in Saint-Michel?", want: bold(middle(t.values("Loyer €/mois", is("Quartier", "Saint-Michel"))))},
		{ask: "What's the highest loyer in Île de la Cité?", want: bold(slices.Max(t.values("Loyer €/mois", is("Quartier", "Île de la Cité"))))},
		{ask: "What is the mean hausse?", want: bold(average(t.values("Hausse %")))},
		{ask: "How many rows have a surface over 100?", want: bold(t.count(where("Surface (m²)", func(v float64) bool { return v > 100 })))},
		{ask: "How many rows have a surface between 50 and 80?", want: bold(t.count(where("Surface (m²)", func(v float64) bool { return v >= 50 && v <= 80 })))},
		{ask: "How many rows have ascenseur = oui?", want: bold(t.count(lift))},
		{ask: "average loyer per etage", want: []string{"| 3 | " + figure(average(t.values("Loyer €/mois", is("Étage", 3.0)))) + " |"}},
		{ask: "Which quartier has the highest average loyer?", want: func() []string {
			q, v := most(t.by("Quartier", "Loyer €/mois", average))
			return []string{"**" + q + "**", figure(v)}
		}()},
		{ask: "How many flats have ascenseur?", want: bold(t.count(lift))},
		{ask: "How many flats are on étage 3?", want: bold(t.count(is("Étage", 3.0)))},
		{ask: "top 3 rows by loyer", want: []string{"3 rows with the largest Loyer €/mois"}},
		{ask: "how many quartiers are there", want: bold(3)},
		{ask: "Plot the average loyer by quartier", want: shown(t.by("Quartier", "Loyer €/mois", average)), chart: true},
		{ask: "Show the loyer of 00025", want: []string{figure(t.rows[8][3].(float64))}},
		{ask: "What is the correlation between surface and loyer?", want: bold(correlated(t.values("Surface (m²)"), t.values("Loyer €/mois")))},
	}}
}

// readings are one column, with no name for what they are; one is a table of one row.
func readings() broughtFile {
	r := rand.New(rand.NewPCG(11, 11))
	t := &table{columns: []string{"temperature"}}
	for range 365 {
		t.rows = append(t.rows, []any{float64(r.IntN(400)-80) / 10})
	}
	return broughtFile{name: "readings.csv", content: written(t, ',', plainCell), questions: []asked{
		{ask: "How many readings are there?", want: bold(365)},
		{ask: "What is the average temperature?", want: bold(average(t.values("temperature")))},
		{ask: "What's the lowest temperature?", want: bold(slices.Min(t.values("temperature")))},
		{ask: "How many readings are below 0?", want: bold(t.count(where("temperature", func(v float64) bool { return v < 0 })))},
		{ask: "How often was it above 25?", want: bold(t.count(where("temperature", func(v float64) bool { return v > 25 })))},
		{ask: "Show a histogram", want: []string{figure(average(t.values("temperature")))}, chart: true},
		{ask: "What is the average temperature by city?", refused: true},
	}}
}

func single() broughtFile {
	return broughtFile{name: "single.csv", content: []byte("name,born,height_cm,smoker\nZoë,1990-02-03,171,no\n"), questions: []asked{
		{ask: "How many people are there?", want: bold(1)},
		{ask: "What is the average height?", want: bold(171)},
		{ask: "Who is the tallest?", want: []string{"Zoë", "**171**"}},
		{ask: "When was Zoë born?", want: []string{"1990-02-03"}},
		{ask: "How many people smoke?", want: bold(0)},
		{ask: "What is the average weight?", refused: true},
	}}
}
