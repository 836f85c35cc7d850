// Enriches order rows: `full_name`, `amount_cents`, `total` and `currency` are added to `after`, in place.
//
// Rows whose `status` is listed in `drop_statuses` are dropped; rows without a usable `amount` are rejected; deletes, tombstones,
// truncates and messages pass unchanged. See docs/guests.md for the configuration.
package main

import "penstock"

func init() { penstock.ServeWith(settings, transform) }

func main() {}

// rejection says why an order cannot be enriched.
type rejection struct{ code, message string }

func transform(event *penstock.Event, s *Settings) penstock.Outcome {
	change, err := event.Change()
	if err != nil {
		return penstock.Reject("bad-json", "the value is no JSON change event: "+err.Error())
	}
	switch {
	case change == nil:
		return penstock.Unchanged()
	case change.Operation == penstock.None:
		return penstock.Reject("no-envelope", "the value has no `op` of c, u, r, d, t or m: it is no Debezium change event")
	case !change.Operation.LeavesRow():
		return penstock.Unchanged()
	case change.After() == nil:
		return penstock.Reject("no-after", change.Operation.String()+" without `after`: there is no row to enrich")
	case isDropped(change.After(), s):
		return penstock.Drop()
	}
	total, refused := enrich(change.After(), s)
	if refused != nil {
		return penstock.Reject(refused.code, refused.message)
	}
	return emitted(event, change, total, s)
}

func isDropped(row *penstock.Row, s *Settings) bool {
	if len(s.DropStatuses) == 0 {
		return false
	}
	status, ok := row.Get("status").Text()
	if !ok {
		return false
	}
	for _, one := range s.DropStatuses {
		if one == status {
			return true
		}
	}
	return false
}

// number is a decimal and the way the source writes it.
type number struct {
	Decimal
	isText bool
}

// enrich sets the new columns, and returns what the order comes to.
func enrich(row *penstock.Row, s *Settings) (Decimal, *rejection) {
	amount, refused := decimalColumn(row, "amount", "bad-amount")
	if refused != nil {
		return Decimal{}, refused
	}
	cents, fits := amount.Hundredths()
	if !fits {
		return Decimal{}, &rejection{"overflow", "after.amount is " + amount.String() + ": its cents do not fit 64 bits"}
	}
	total, hasTotal, refused := totalOf(amount, row)
	if refused != nil {
		return Decimal{}, refused
	}
	if refused := setFullName(row); refused != nil {
		return Decimal{}, refused
	}
	row.SetInt("amount_cents", cents)
	if hasTotal {
		setNumber(row, "total", total)
	}
	if s.Currency != "" {
		row.SetString("currency", s.Currency)
	}
	return total.Decimal, nil
}

func decimalColumn(row *penstock.Row, column, code string) (number, *rejection) {
	value := row.Get(column)
	if value.Kind() == penstock.Missing {
		return number{}, &rejection{code, "after." + column + " is missing"}
	}
	text, isText := value.Text()
	if !isText {
		text, _ = value.Digits()
	}
	decimal, err := ParseDecimal(text)
	switch err {
	case nil:
		return number{decimal, isText}, nil
	case ErrTooLarge:
		return number{}, &rejection{"overflow", "after." + column + " is " + value.Shown() + ": too many digits"}
	}
	const why = ": a decimal number was expected (Debezium writes decimals as bytes unless decimal.handling.mode is string)"
	return number{}, &rejection{code, "after." + column + " is " + value.Shown() + why}
}

// totalOf is amount × quantity, written the way the amount is; the amount where there is no quantity.
func totalOf(amount number, row *penstock.Row) (total number, hasTotal bool, refused *rejection) {
	if row.Get("quantity").IsNull() {
		return amount, false, nil
	}
	quantity, refused := decimalColumn(row, "quantity", "bad-quantity")
	if refused != nil {
		return amount, false, refused
	}
	product, fits := amount.Times(quantity.Decimal)
	if !fits {
		return amount, false, &rejection{"overflow", amount.String() + " × " + quantity.String() + " has too many digits"}
	}
	return number{product, amount.isText}, true, nil
}

func setNumber(row *penstock.Row, column string, value number) {
	if value.isText {
		row.SetString(column, value.String())
	} else {
		row.SetDecimal(column, value.String())
	}
}

var space = []byte(" ")

// setFullName joins the names as they stand between their quotes, empty ones skipped; null when there is neither.
func setFullName(row *penstock.Row) *rejection {
	first, refused := name(row, "first_name")
	if refused != nil {
		return refused
	}
	last, refused := name(row, "last_name")
	switch {
	case refused != nil:
		return refused
	case len(first) == 0 && len(last) == 0:
		row.SetNull("full_name")
	case len(first) == 0:
		row.SetQuoted("full_name", last)
	case len(last) == 0:
		row.SetQuoted("full_name", first)
	default:
		row.SetQuoted("full_name", first, space, last)
	}
	return nil
}

func name(row *penstock.Row, column string) ([]byte, *rejection) {
	value := row.Get(column)
	if inside := value.Inside(); inside != nil || value.IsNull() {
		return inside, nil
	}
	return nil, &rejection{"bad-name", "after." + column + " is " + value.Shown() + ": a text or null was expected"}
}

// emitted also sends expensive orders to the topic for those.
func emitted(event *penstock.Event, change *penstock.Change, total Decimal, s *Settings) penstock.Outcome {
	if s.FlagTopic == "" || !total.Exceeds(s.FlagAbove) {
		return change.Emit()
	}
	enriched := event.Record(change.Value())
	flagged := enriched
	flagged.Topic = s.FlagTopic
	return penstock.EmitMany(enriched, flagged)
}
