package engine

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
)

func itoa(n int) string { return strconv.Itoa(n) }

// statusText is the column STATUS of a list: "Up 5 minutes", "Exited (0) 3
// seconds ago".
func (s *StateDef) statusText(now time.Time) string {
	switch s.Status {
	case container.StateRunning:
		return "Up " + units.HumanDuration(now.Sub(s.Started))
	case container.StateExited:
		return fmt.Sprintf("Exited (%d) %s ago", s.ExitCode, units.HumanDuration(now.Sub(s.Finished)))
	}
	return "Created"
}

// dockerTime is a time as Docker writes it; the zero time is its year 1.
func dockerTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// commandLine shows a command with its arguments, quoted where they need it.
func commandLine(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		switch {
		case !printable(a):
			a = strconv.Quote(a)
		case a == "" || strings.ContainsAny(a, " '\"\\"):
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out[i] = a
	}
	return strings.Join(out, " ")
}
