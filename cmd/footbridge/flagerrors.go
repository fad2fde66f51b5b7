package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagText says what is wrong with a command's flags: pflag's words, with the flag that may have been meant, and without
// those of Go's parsers.
func flagText(cmd *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	var bad *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		if near := nearFlags(cmd.Flags(), misspelt(unknown)); len(near) > 0 {
			return err.Error() + "; did you mean " + strings.Join(near, " or ") + "?"
		}
	case errors.As(err, &bad):
		return strings.TrimSuffix(err.Error(), bad.Unwrap().Error()) + wrongValue(bad).Error()
	}
	return err.Error()
}

// misspelt is the name that was to be a flag's. "-network" is read as "-n -e -t ...", and meant as one.
func misspelt(unknown *pflag.NotExistError) string {
	if letters := unknown.GetSpecifiedShortnames(); letters != "" {
		name, _, _ := strings.Cut(letters, "=")
		return name
	}
	return unknown.GetSpecifiedName()
}

// nearFlags returns the flags that are shown and of which name is a misspelling, if there are not many.
func nearFlags(flags *pflag.FlagSet, name string) []string {
	const many = 3
	var near []string
	least := mistakes(name)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden && f.Name != "help" {
			return
		}
		switch d := distance(name, f.Name); {
		case d > least:
		case d < least:
			least, near = d, []string{"--" + f.Name}
		default:
			near = append(near, "--"+f.Name)
		}
	})
	if len(near) > many {
		return nil
	}
	return near
}

// mistakes is how many a name may have to be known for another: of few letters nearly anything would be.
func mistakes(name string) int {
	switch {
	case len(name) <= 2:
		return 0
	case len(name) <= 5:
		return 1
	}
	return 2
}

// distance is the number of letters that are to be put in, left out, exchanged for another, or with their neighbour, to
// make one word of the other.
func distance(from, to string) int {
	a, b := []rune(from), []rune(to)
	var before []int // the row above the last
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range b {
			other := 1
			if a[i] == b[j] {
				other = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+other)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// valueKinds are the types of flags whose values Go's parsers read: what a value is not, and what to give.
var valueKinds = map[string][2]string{
	"int":      {"not a whole number", "give one such as 10"},
	"bool":     {"neither true nor false", "give one of them"},
	"duration": {"not a time with a unit", "give one such as 90s or 5m"},

	"ip":           {"not an IP address", "give one such as 10.1.0.1"},
	"prefix":       {"not ADDRESS/LENGTH", "give one such as 10.1.0.1/24"},
	"pool-options": {"not base=PREFIX,size=LENGTH", "give one such as base=10.200.0.0/16,size=24"},
}

// wrongValue is why a flag does not take a value.
func wrongValue(bad *pflag.InvalidValueError) error {
	kind, ok := valueKinds[bad.GetFlag().Value.Type()]
	switch {
	case !ok:
		return bad.Unwrap()
	case bad.GetValue() == "":
		kind[0] = "empty, as a variable that is not set, and " + kind[0]
	case errors.Is(bad.Unwrap(), strconv.ErrRange):
		kind[0] = "too large or too small"
	}
	return errors.New("it is " + kind[0] + ": " + kind[1])
}
