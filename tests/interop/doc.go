// Command interop shows that other programs use footbridge as they are: podman, Docker's command, runc, bubblewrap and
// others run as an ordinary user of a machine of their own, and every feature of theirs that goes through footbridge is
// one cell of the table that is printed at the end.
//
//	this process (perhaps root): installs, builds, judges
//	   |
//	   |-- part_NAME.go: part{packages, programs, cells}     one file a program
//	   |
//	   '-- stage = a world (see package world), a fresh one for each part
//	         client <--> host <--> internet: web, names
//	                      |-- s.user    uid 1000, with ranges of other uids as the real login has them, no capability
//	                      '-- s.root    the machine's administrator
//
// The machine's own files and network stay as they are: a world has its own mounts, /etc, processes and interfaces.
// Packages that are missing are installed where this runs as root. As an ordinary user it installs nothing, and parts
// that need what only root can prepare (ranges of subordinate ids, first of all) are left out, with that reason.
//
// A cell is ok, or FAILED with everything that it ran and read, or left out for a reason that is printed: a program that
// is not there, a version that is too old, the short form. Any failure makes the exit status 1.
//
// # A part
//
//	func init() { parts = append(parts, bubblewrap) }
//
//	var bubblewrap = part{
//		name:     "bubblewrap",
//		packages: []string{"bubblewrap"},
//		programs: []program{{name: "bwrap", version: []string{"bwrap", "--version"}}},
//		cells: []cell{{feature: "a sandbox joins a network", run: func(s *stage) error {
//			s.footbridge("network", "create", "n")
//			out := s.user.run("bwrap", "--dev-bind", "/", "/", "true")
//			if out != "" {
//				return fmt.Errorf("true said %q", out)
//			}
//			return nil
//		}}},
//	}
//
// # Lifetime
//
// What a cell starts ends with the cell, what its commands left in the background ends with the part: the kernel ends
// everything in a world with the world's first process. Folders go with the run.
//
// # Concurrency
//
// Parts run two at a time, since they share nothing but the machine; the cells of one run one after the other, each in
// a goroutine of its own, so that one that hangs can be told.
package main
