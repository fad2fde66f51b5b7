#include "textflag.h"

// func rawClone(flags uintptr) (pid, errno uintptr)
//
// Child and parent return here one after the other, on one stack. The child goes
// on to call other functions, whose frames cover this one's return address: the
// parent needs it from a register.
TEXT ·rawClone(SB), NOSPLIT|NOFRAME, $0-24
	MOVQ	flags+0(FP), DI
	XORL	SI, SI // the caller's stack
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	MOVL	$56, AX // SYS_clone
	POPQ	R12
	SYSCALL
	PUSHQ	R12
	CMPQ	AX, $-4095
	JCC	failed
	MOVQ	AX, pid+8(FP)
	MOVQ	$0, errno+16(FP)
	RET
failed:
	MOVQ	$0, pid+8(FP)
	NEGQ	AX
	MOVQ	AX, errno+16(FP)
	RET
