// Package quota keeps an account for each container of a network: what it holds of
// something, and how much it may.
//
//	any of its addresses                    Account: Limits, Turn
//	      | Options.Owner                      + what its package counts
//	      v                                  ^
//	the address that it is known by ---------+
//
// An account comes into being when it is asked for, with the limits of everybody, and goes
// when nothing is counted in it, so that addresses that somebody has used once are not
// remembered. One whose limits were set stays until they are taken back.
//
// What all containers together may hold is no matter of this package, but of share.
//
// # Lifetime
//
// A [Table] is plain memory.
//
// # Concurrency
//
// Tables and accounts have no lock. They are used with one of their owner's held.
package quota
