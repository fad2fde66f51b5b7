package main

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"text/template"
)

// listing prints rows in the ways that --format and --quiet ask for. A row is a
// value whose methods without arguments, each returning a text, are the fields
// that templates may name, and the keys of its JSON.
type listing struct {
	headings headings
	table    string // template of the table when no format is given
	quiet    string // template that --quiet means
}

// headings are the columns' headings by the name of the field.
type headings map[string]string

// Label is the heading of {{.Label "com.example.some-label"}}: "some label".
func (headings) Label(name string) string {
	name = name[strings.LastIndexByte(name, '.')+1:]
	return strings.NewReplacer("-", " ", "_", " ").Replace(name)
}

// print writes rows. format is "", "table", "table TEMPLATE", "json" or a template.
func (l listing) print(w io.Writer, rows []any, format string, quiet bool) error {
	text, isTable := l.resolve(format, quiet)
	if text == "json" {
		return printJSONLines(w, rows)
	}
	t, err := parseTemplate(text)
	if err != nil {
		return err
	}
	if !isTable {
		return execute(w, t, rows)
	}
	table := tabwriter.NewWriter(w, 10, 1, 3, ' ', 0)
	t.Option("missingkey=error")
	if err := execute(table, t, []any{l.headings}); err != nil {
		return err
	}
	if err := execute(table, t, rows); err != nil {
		return err
	}
	return table.Flush()
}

// resolve returns the template to use, and whether it makes a table.
func (l listing) resolve(format string, quiet bool) (text string, isTable bool) {
	plainTable := format == "" || format == "table"
	switch custom, found := strings.CutPrefix(format, "table "); {
	case plainTable && quiet:
		return l.quiet, false
	case plainTable:
		return l.table, true
	case found:
		return strings.TrimSpace(custom), true
	}
	return format, false
}

// execute writes one line a row.
func execute(w io.Writer, t *template.Template, rows []any) error {
	for _, row := range rows {
		var b bytes.Buffer
		if err := t.Execute(&b, row); err != nil {
			return fmt.Errorf("template parsing error: %w", err)
		}
		b.WriteByte('\n')
		if _, err := w.Write(b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// printJSONLines writes every row as a JSON object on a line of its own.
func printJSONLines(w io.Writer, rows []any) error {
	for _, row := range rows {
		text, err := jsonText(row)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	return nil
}

// rowJSON is a row's MarshalJSON.
func rowJSON(row any) ([]byte, error) {
	text, err := jsonText(rowFields(row))
	return []byte(text), err
}

// rowFields returns the fields of a row by name.
func rowFields(row any) map[string]string {
	v := reflect.ValueOf(row)
	fields := map[string]string{}
	for i := range v.NumMethod() {
		if get, ok := v.Method(i).Interface().(func() string); ok {
			fields[v.Type().Method(i).Name] = get()
		}
	}
	return fields
}

// printColumns writes rows of texts as a table.
func printColumns(w io.Writer, rows [][]string) error {
	table := tabwriter.NewWriter(w, 10, 1, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return table.Flush()
}
