package sandbox

// #include <malloc.h>
//
// static void few_arenas(void) {
// #ifdef M_ARENA_MAX
//	mallopt(M_ARENA_MAX, 2);
// #endif
// }
import "C"

import "golang.org/x/sys/unix"

// cRuntime is what glibc's threads and the race detector need in addition, in
// programs that are built with -race: tests.
func cRuntime() []call {
	return []call{
		allow(unix.SYS_MPROTECT, "mprotect", "guard pages of stacks", without(2, unix.PROT_EXEC)),
		allow(unix.SYS_RSEQ, "rseq", "new threads"),
		allow(unix.SYS_SET_ROBUST_LIST, "set_robust_list", "new threads"),
		allow(unix.SYS_BRK, "brk", "malloc"),
		allow(unix.SYS_CLOCK_NANOSLEEP, "clock_nanosleep", "the race detector's own thread"),
		allow(unix.SYS_GETTIMEOFDAY, "gettimeofday", "reports of the race detector"),
	}
}

// warmC keeps glibc's malloc from counting the CPUs, in files, when threads compete
// for its arenas.
func warmC() { C.few_arenas() }
