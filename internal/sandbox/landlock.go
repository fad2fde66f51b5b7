package sandbox

import (
	"errors"
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// The ABI versions that add something to what is asked for here, and their kernels.
const (
	abiTCP         = 4 // Linux 6.7: binding TCP ports
	abiScopes      = 6 // Linux 6.12: abstract sockets and signals
	newestLandlock = 9 // connecting to unix sockets by path; later ones add nothing that is wanted
)

// erratumSignals is the bit of the erratum without whose fix threads that were
// restricted one by one can no longer signal each other, as the Go runtime has to.
const erratumSignals = 1 << 1

// ErrNoLandlock is why Support.Landlock is 0.
var ErrNoLandlock = errors.New("no Landlock")

// landlockABI is the version that can be put in force here. The error wraps
// ErrNoLandlock and says what to do.
func landlockABI() (int, error) {
	version, err := ll.LandlockGetABIVersion()
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return 0, fmt.Errorf("%w: this kernel has it switched off: boot with landlock among the names after lsm=, see /sys/kernel/security/lsm", ErrNoLandlock)
	case errors.Is(err, unix.ENOSYS):
		return 0, fmt.Errorf("%w: this kernel does not have it: Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK does", ErrNoLandlock)
	case err != nil:
		return 0, fmt.Errorf("%w: %w: an outer container may forbid it", ErrNoLandlock, err)
	}
	return knownABI(version, func() (int, error) { return ll.LandlockGetErrata() }), nil
}

// knownABI is version without what is not used or does not work. errata are the
// fixed ones.
func knownABI(version int, errata func() (int, error)) int {
	if version >= abiScopes {
		if fixed, err := errata(); err != nil || fixed&erratumSignals == 0 {
			return abiScopes - 1
		}
	}
	return min(version, newestLandlock)
}

// lacking says what a version does not have.
func lacking(abi int) []string {
	var notes []string
	if abi < abiTCP {
		notes = append(notes, fmt.Sprintf("Landlock ABI %d knows no TCP ports: Linux 6.7 or later does", abi))
	}
	if abi < abiScopes {
		notes = append(notes, fmt.Sprintf("Landlock ABI %d knows no abstract sockets and signals: Linux 6.12 or later does", abi))
	}
	return notes
}

// anyPort stands for the ports that the kernel chooses (landlock(7), port 0).
const anyPort = 0

// landlockAll forbids all threads everything that the kernel's Landlock knows but
// connecting by TCP, from whichever address, by a port of the kernel's choice. It says
// which version is in force and what is missing.
func landlockAll() (abi int, notes []string) {
	abi, err := landlockABI()
	if err != nil {
		return 0, []string{err.Error()}
	}
	everything := landlock.MustConfig(landlock.V9.HandledAccessFS, landlock.AccessNetSet(ll.AccessNetBindTCP), landlock.V9.Scoped)
	if err := everything.BestEffort().Restrict(landlock.BindTCP(anyPort)); err != nil {
		// seccomp stands without it.
		return 0, []string{fmt.Sprintf("%v: %v", ErrNoLandlock, err)}
	}
	return abi, lacking(abi)
}
