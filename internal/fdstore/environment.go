package fdstore

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The environment that hands descriptors over. All of it is taken out by Open: it
// must not reach what this program starts.
const (
	// Of systemd: sd_listen_fds(3), sd_notify(3).
	pidVariable    = "LISTEN_PID"
	countVariable  = "LISTEN_FDS"
	namesVariable  = "LISTEN_FDNAMES"
	socketVariable = "NOTIFY_SOCKET"
	// limitVariable says how many descriptors systemd keeps (since version 254).
	limitVariable = "FDSTORE"

	// tableVariable is ours: "PID:FD", the process that it is for, and a file with a line
	// "FD NAME" for each descriptor.
	tableVariable = "FOOTBRIDGE_FDS"
)

var variables = []string{pidVariable, countVariable, namesVariable, socketVariable, limitVariable, tableVariable}

const (
	// first is SD_LISTEN_FDS_START: below are the standard streams.
	first = 3
	// maxFDs bounds what is believed; a process cannot have more unless root says so
	// (fs.nr_open).
	maxFDs = 1 << 20
	// maxTable bounds the table in bytes: a number of ten digits, a name, two separators.
	maxTable = maxFDs * (10 + maxName + 2)
	// unnamed is what systemd calls what has no name.
	unnamed = "unknown"
)

// ErrEnvironment is returned by Open when what is said about descriptors cannot be true.
var ErrEnvironment = errors.New("descriptors cannot be taken over")

// entry is one descriptor that was handed over.
type entry struct {
	fd   int
	name string
}

// fromSystemd reads systemd's variables. What is meant for another process counts as
// not there.
func fromSystemd(getenv func(string) string, pid int) ([]entry, error) {
	if getenv(pidVariable) != strconv.Itoa(pid) {
		return nil, nil
	}
	n, err := strconv.Atoi(getenv(countVariable))
	if err != nil || n < 0 || n > maxFDs {
		return nil, fmt.Errorf("%w: %s=%.50q is not a number of descriptors", ErrEnvironment, countVariable, getenv(countVariable))
	}
	names := strings.Split(getenv(namesVariable), ":")
	if getenv(namesVariable) == "" { // systemd before version 227
		names = make([]string, n)
	}
	if len(names) != n {
		return nil, fmt.Errorf("%w: %d descriptors have %d names", ErrEnvironment, n, len(names))
	}
	var entries []entry
	for i, name := range names {
		if name == "" {
			name = unnamed
		}
		if checkName(name) != nil { // systemd allows more in a name than we do
			name = Name(name)
		}
		entries = append(entries, entry{first + i, name})
	}
	return entries, nil
}

// tableOf returns the descriptor of the table that a program of ours left; -1 if there is
// none for this process.
func tableOf(getenv func(string) string, pid int) (int, error) {
	text := getenv(tableVariable)
	whose, number, ok := strings.Cut(text, ":")
	if whose != strconv.Itoa(pid) {
		return -1, nil
	}
	fd, err := strconv.Atoi(number)
	if !ok || err != nil || fd < first || fd > math.MaxInt32 {
		return -1, fmt.Errorf("%w: %s=%.50q does not name a descriptor", ErrEnvironment, tableVariable, text)
	}
	return fd, nil
}

// parseTable is the inverse of formatTable.
func parseTable(text string) ([]entry, error) {
	var entries []entry
	seen := map[int]bool{}
	for line := range strings.Lines(text) {
		line, whole := strings.CutSuffix(line, "\n")
		number, name, _ := strings.Cut(line, " ")
		fd, err := strconv.Atoi(number)
		if !whole || err != nil || fd < first || fd > math.MaxInt32 || seen[fd] || checkName(name) != nil {
			return nil, fmt.Errorf("%w: %.300q in the table of descriptors", ErrEnvironment, line)
		}
		seen[fd] = true
		entries = append(entries, entry{fd, name})
	}
	return entries, nil
}

func formatTable(entries []entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%d %s\n", e.fd, e.name)
	}
	return b.String()
}

// readTable reads the table in the file fd, and closes that.
func readTable(fd int) ([]entry, error) {
	// Only a regular file: reading could wait otherwise.
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%w: descriptor %d is not a table of them", ErrEnvironment, fd)
	}
	f := os.NewFile(uintptr(fd), "table of descriptors")
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxTable))
	if err != nil {
		return nil, fmt.Errorf("%w: read their table: %w", ErrEnvironment, err)
	}
	return parseTable(string(b))
}
