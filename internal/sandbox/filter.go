package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// call is one row of the list: a system call and when it may be made. Several rows of
// one call are alternatives, of which the first that fits counts.
type call struct {
	nr    uintptr
	name  string
	why   string
	args  []match       // all have to fit; none: whatever they are
	errno syscall.Errno // 0: it is allowed; else it is not, and gives this
}

// match is what an argument is to be. The upper 32 bits have to be zero always: no
// value on the list has any, and the kernel ignores or refuses them.
type match struct {
	arg  int
	mask uint32   // bits that are looked at
	in   []uint32 // what they may be
	not  bool     // in is what they may not be
}

func is(arg int, values ...uint32) match { return match{arg: arg, mask: ^uint32(0), in: values} }

func masked(arg int, mask uint32, values ...uint32) match {
	return match{arg: arg, mask: mask, in: values}
}

func not(arg int, value uint32) match {
	return match{arg: arg, mask: ^uint32(0), in: []uint32{value}, not: true}
}

func without(arg int, bits uint32) match { return match{arg: arg, mask: bits, in: []uint32{0}} }

// Where struct seccomp_data has its fields (linux/seccomp.h). Both architectures are
// little-endian.
const (
	offsetNr   = 0
	offsetArch = 4
	offsetArgs = 16
)

func lower(arg int) bpf.LoadAbsolute {
	return bpf.LoadAbsolute{Off: uint32(offsetArgs + 8*arg), Size: 4}
}

func upper(arg int) bpf.LoadAbsolute {
	return bpf.LoadAbsolute{Off: uint32(offsetArgs + 8*arg + 4), Size: 4}
}

var kill = bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS}

// compile makes the filter's program. Calls come in the list's order: kernels before
// 5.11 go through it at every call, later ones remember which are always allowed.
func compile(calls []call) ([]bpf.Instruction, error) {
	if auditArch == 0 {
		return nil, fmt.Errorf("there is no list for %s", runtime.GOARCH)
	}
	program := []bpf.Instruction{
		// Numbers mean other calls in another architecture's entry; x32, which
		// has the same one, has numbers that no row has.
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		kill,
		bpf.LoadAbsolute{Off: offsetNr, Size: 4},
	}
	done := make(map[uintptr]bool)
	for i, c := range calls {
		if done[c.nr] {
			continue
		}
		done[c.nr] = true
		var block []bpf.Instruction
		always := false
		for _, alternative := range calls[i:] {
			if alternative.nr != c.nr || always {
				continue
			}
			row, err := compileRow(alternative)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", alternative.name, err)
			}
			block = append(block, row...)
			always = len(alternative.args) == 0
		}
		if !always {
			block = append(block, kill)
		}
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(c.nr), SkipTrue: 1},
			bpf.Jump{Skip: uint32(len(block))})
		program = append(program, block...)
	}
	return append(program, kill), nil
}

// compileRow gives the instructions that return the row's action, or go on behind
// themselves where an argument does not fit.
func compileRow(c call) ([]bpf.Instruction, error) {
	action := uint32(unix.SECCOMP_RET_ALLOW)
	if c.errno != 0 {
		action = unix.SECCOMP_RET_ERRNO | uint32(c.errno)
	}
	// Made from its end, so that it is known how far away that is.
	row := []bpf.Instruction{bpf.RetConstant{Val: action}}
	for i := len(c.args) - 1; i >= 0; i-- {
		m := c.args[i]
		if m.arg < 0 || m.arg > 5 || len(m.in) == 0 {
			return nil, errors.New("a rule without argument or values")
		}
		part := []bpf.Instruction{upper(m.arg), nil, lower(m.arg)}
		if m.mask != ^uint32(0) {
			part = append(part, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: m.mask})
		}
		size := len(part) + len(m.in)
		if size+len(row) > 255 {
			return nil, errors.New("too many values for the program's short jumps")
		}
		part[1] = bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: uint8(size - 2 + len(row))}
		for j, v := range m.in {
			left := len(m.in) - 1 - j
			test := bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(left)}
			switch {
			case m.not:
				test.SkipTrue = uint8(left + len(row))
			case left == 0:
				test.SkipFalse = uint8(len(row))
			}
			part = append(part, test)
		}
		row = append(part, row...)
	}
	return row, nil
}

// installFilter sets the filter on all threads of the process.
func installFilter(calls []call) error {
	program, err := compile(calls)
	if err != nil {
		return err
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	// SPEC_ALLOW: before Linux 5.16 a filter costs the mitigations for programs that
	// run foreign code. This one runs none.
	return setFilter(raw, unix.SECCOMP_FILTER_FLAG_TSYNC|unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW)
}

func setFilter(raw []bpf.RawInstruction, flags uintptr) error {
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	thread, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	switch {
	case e != 0:
		return os.NewSyscallError("seccomp", e)
	case thread != 0:
		return fmt.Errorf("seccomp: thread %d has another filter", thread)
	}
	return nil
}
