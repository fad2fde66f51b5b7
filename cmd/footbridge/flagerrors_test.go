package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/footbridge-net/footbridge/internal/ocihook"
)

func TestMisspeltFlagsAreRecognised(t *testing.T) {
	for args, want := range map[string]string{
		"run --netwrok n true":         "unknown flag: --netwrok; did you mean --network?",
		"run --netwrok=n true":         "unknown flag: --netwrok; did you mean --network?",
		"run -network n true":          "unknown shorthand flag: 'n' in -network; did you mean --network?",
		"run -network=n true":          "unknown shorthand flag: 'n' in -network=n; did you mean --network?",
		"run -rm true":                 "unknown shorthand flag: 'r' in -rm; did you mean --rm?",
		"container run --publsh 1 x":   "unknown flag: --publsh; did you mean --publish?",
		"run --publish-al x":           "unknown flag: --publish-al; did you mean --publish-all?",
		"run --ipp 10.0.0.1 x":         "unknown flag: --ipp; did you mean --ip or --ip6?",
		"network create --subnets x n": "unknown flag: --subnets; did you mean --subnet?",
		"--hlep":                       "unknown flag: --hlep; did you mean --help?",
		// Those of the command, that it shows, and that are near.
		"ps --netwrok n":      "unknown flag: --netwrok\n",
		"run --volme /a x":    "unknown flag: --volme\n",
		"run --nope x":        "unknown flag: --nope\n",
		"run --frobnicated x": "unknown flag: --frobnicated\n",
		"run -y x":            "unknown shorthand flag: 'y' in -y\n",
	} {
		w := newWorld(t)
		w.expect(t, exitUsage, strings.Fields(args)...)
		if said := w.err.String(); !strings.HasPrefix(said, want) || !strings.Contains(said, "\n\nUsage:  footbridge") {
			t.Errorf("%s: said %q, want %q first", args, said, want)
		}
	}
}

func TestDistanceOfNames(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "ab", 2}, {"name", "name", 0}, {"netwrok", "network", 1}, {"ntework", "network", 1}, {"abcd", "badc", 2},
		{"mdns", "dns", 1}, {"dns", "dsn", 1}, {"kitten", "sitting", 3}, {"größe", "grösse", 2},
	} {
		if there, back := distance(c.a, c.b), distance(c.b, c.a); there != c.want || back != c.want {
			t.Errorf("%s and %s: %d, %d, want %d", c.a, c.b, there, back, c.want)
		}
	}
}

func TestValuesAreRefusedInWords(t *testing.T) {
	for args, want := range map[string]string{
		"attach --pid=":                     `invalid argument "" for "--pid" flag: it is empty, as a variable that is not set, and not a whole number: give one such as 10`,
		"attach --pid=x":                    `invalid argument "x" for "--pid" flag: it is not a whole number: give one such as 10`,
		"attach --exit-fd=1.5 --pid=1":      `invalid argument "1.5" for "--exit-fd" flag: it is not a whole number: give one such as 10`,
		"stop -t 99999999999999999999 web":  `invalid argument "99999999999999999999" for "-t, --timeout" flag: it is too large or too small: give one such as 10`,
		"run --rm=maybe true":               `invalid argument "maybe" for "--rm" flag: it is neither true nor false: give one of them`,
		"daemon --idle-timeout=5":           `invalid argument "5" for "--idle-timeout" flag: it is not a time with a unit: give one such as 90s or 5m`,
		"daemon --bip=10.1.0.1":             `invalid argument "10.1.0.1" for "--bip" flag: it is not ADDRESS/LENGTH: give one such as 10.1.0.1/24`,
		"run --network a,gw-priority=x yes": `invalid argument "a,gw-priority=x" for "--network" flag: invalid gw-priority (x): not a number`,
	} {
		w := newWorld(t)
		w.expect(t, exitUsage, strings.Fields(args)...)
		if said := w.err.String(); !strings.HasPrefix(said, want+"\n\nUsage:") {
			t.Errorf("%s: said %q, want %q", args, said, want)
		}
	}
}

// Whatever is given to whichever flag, no refusal is in the words of Go's parsers.
func TestNoFlagAnswersInJargon(t *testing.T) {
	jargon := func(what, said string) {
		for _, word := range []string{"strconv.", "netip.", "time: ", "parsing", "invalid syntax", "ParseAddr"} {
			if strings.Contains(said, word) {
				t.Errorf("%s: %s", what, said)
			}
		}
	}
	refused := 0
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			for _, value := range []string{"", "x", "1.5", "99999999999999999999", "base=x", "base=10.0.0.0/8,size=x", `"`} {
				if err := cmd.Flags().Parse([]string{"--" + f.Name + "=" + value}); err != nil {
					refused++
					jargon(cmd.CommandPath()+" --"+f.Name+"="+value, flagText(cmd, err))
				}
			}
		})
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(newWorld(t).cli))
	if refused < 100 {
		t.Errorf("only %d values were refused", refused)
	}
	_, err := hookRequest(ocihook.State{PID: 1, Annotations: map[string]string{ocihook.Prefix + "publish-all": "perhaps"}}, ocihook.Config{})
	if err == nil || !strings.Contains(err.Error(), "publish-all: it is neither true nor false") {
		t.Errorf("an annotation: %v", err)
	}
}
