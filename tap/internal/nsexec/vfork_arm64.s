#include "textflag.h"

// func rawClone(flags uintptr) (pid, errno uintptr)
//
// Child and parent return here one after the other, on one stack. The return
// address is in the link register, which the kernel keeps for each of them.
TEXT ·rawClone(SB), NOSPLIT, $0-24
	MOVD	flags+0(FP), R0
	MOVD	ZR, R1 // the caller's stack
	MOVD	ZR, R2
	MOVD	ZR, R3
	MOVD	ZR, R4
	MOVD	$220, R8 // SYS_clone
	SVC
	CMN	$4095, R0
	BCS	failed
	MOVD	R0, pid+8(FP)
	MOVD	ZR, errno+16(FP)
	RET
failed:
	MOVD	ZR, pid+8(FP)
	NEG	R0, R0
	MOVD	R0, errno+16(FP)
	RET
