package shim

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
)

const (
	subUIDFile = "/etc/subuid"
	subGIDFile = "/etc/subgid"
)

// mapping is the rows of a uid_map or gid_map: inside, outside, count.
type mapping [][3]int64

// autoMapping maps id to 0 and the subordinate ranges to 1 and up, in their order in the file.
func autoMapping(id int, ranges []user.SubID) mapping {
	m := mapping{{0, int64(id), 1}}
	next := int64(1)
	for _, r := range ranges {
		if r.Count <= 0 || r.SubID <= 0 {
			continue
		}
		m = append(m, [3]int64{next, r.SubID, r.Count})
		next += r.Count
	}
	return m
}

func (m mapping) args() []string {
	var a []string
	for _, row := range m {
		for _, n := range row {
			a = append(a, strconv.FormatInt(n, 10))
		}
	}
	return a
}

// subordinateIDs returns what the user may map besides itself. The error names the missing line
// and the command that adds it.
func subordinateIDs() (uids, gids []user.SubID, err error) {
	uid := os.Getuid()
	name := strconv.Itoa(uid)
	if u, err := user.LookupUid(uid); err == nil {
		name = u.Name
	}
	read := func(file string) ([]user.SubID, error) {
		ranges, err := user.ParseSubIDFileFilter(file, func(r user.SubID) bool {
			return r.Name == name || r.Name == strconv.Itoa(uid)
		})
		if err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("%w: %w", ErrSubIDs, err)
		}
		if len(ranges) == 0 {
			return nil, fmt.Errorf("%w: %s has no line for user %q; add one as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s, or leave out --userns=auto",
				ErrSubIDs, file, name, name)
		}
		return ranges, nil
	}
	if uids, err = read(subUIDFile); err != nil {
		return nil, nil, err
	}
	if gids, err = read(subGIDFile); err != nil {
		return nil, nil, err
	}
	return uids, gids, nil
}

// autoMaps finds the programs and ranges that the mode "auto" needs, before anything is made.
func autoMaps() (uids, gids mapping, err error) {
	for _, program := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, nil, fmt.Errorf("%w: the program %s is not installed; install the package uidmap (shadow-utils on Fedora), or leave out --userns=auto",
				ErrSubIDs, program)
		}
	}
	subUIDs, subGIDs, err := subordinateIDs()
	if err != nil {
		return nil, nil, err
	}
	return autoMapping(os.Getuid(), subUIDs), autoMapping(os.Getgid(), subGIDs), nil
}

// writeAutoMaps has the set-uid programs write the maps of a process in a new user namespace.
func writeAutoMaps(pid int, uids, gids mapping) error {
	for _, p := range []struct {
		program string
		m       mapping
	}{{"newuidmap", uids}, {"newgidmap", gids}} {
		cmd := exec.Command(p.program, append([]string{strconv.Itoa(pid)}, p.m.args()...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s refused to map %s: %w: %s; compare with %s and %s, and see that it is set-uid root",
				ErrSubIDs, p.program, strings.Join(p.m.args(), " "), err, strings.TrimSpace(string(out)), subUIDFile, subGIDFile)
		}
	}
	return nil
}
