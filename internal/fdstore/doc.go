// Package fdstore keeps descriptors beyond the program that uses them, by systemd's
// conventions: sd_listen_fds(3) to get them, sd_notify(3) to give them away.
//
//	                 Open: LISTEN_FDS, LISTEN_FDNAMES
//	systemd ------------------------------------------> Store: name -> fdpass.Handle
//	   ^  |                                               |   ^
//	   |  +-- the program died: started again, with all   |   |  Put, Get, Remove, Sweep
//	   |                                                  |   |
//	   +------- FDSTORE=1, FDSTOREREMOVE=1 ---------------+   the daemon
//	                                                      |
//	                                                      +-- Exec: the next program, same
//	                                                          pid; Open: FOOTBRIDGE_FDS
//
// Two things can end a program: death, after which systemd, if it is there, starts it
// again with what it was given; and [Store.Exec], by which the program puts another in
// its own place. The new one finds the descriptors by Open after both.
//
// # Exec
//
// systemd's convention has descriptors at 3 and up, where a running program has others:
// the runtime's poller, connections. Nothing there may be moved while threads run, and a
// failed execve(2) is to leave everything as it was. So Exec has a convention of its own:
// descriptors keep their numbers, and a file in memory says which is called what; names
// may be more text than an environment variable takes (128 KiB).
//
// One thread makes a descriptor table of its own (unshare(2), CLONE_FILES), lifts
// close-on-exec there, and calls execve. The others, which the kernel ends when execve
// succeeds, never see it, so no program that they start gets anything either; when it
// fails the thread is thrown away with its table, and nothing has happened.
//
// What is not in the Store is close-on-exec everywhere in this program, and ends with
// it. So does every lock on files that are not in the Store. A child that asked for a
// signal at its parent's death (PR_SET_PDEATHSIG) gets it: it means the parent's thread.
//
// # Names
//
// [Name] makes them. The first part says whose a name is, so that [Store.Sweep] can
// drop what its owner does not claim. systemd keeps one open file once: put under two
// names, it is stored under the first. And it keeps as many descriptors under one name as
// it is given. Put removes the older one first, but should systemd ever hand over two, then
// nobody can tell which is the right one, and neither is used.
//
// # Lifetime
//
// Open takes the descriptors that this process was started with; Put and Get duplicate.
// Close closes what is here, and takes nothing from systemd: Remove does.
//
// # Concurrency
//
// All methods may be called from many goroutines. Store.mu is held over what is said to
// systemd, so that it learns things in the order in which they happened; that waits for
// at most notifyPatience. Nothing else is locked under it.
package fdstore
