// Package lifecycle drives random operations against footbridge, with faults in the middle of them, and compares what
// is with what a model says there should be.
//
//	seed --generate--> operations --run--> Stage: memory (the engine above seams that fail on demand)
//	                       |                 |    daemon (the binary, in a world of its own)
//	                       v                 v
//	                     Model --Expect--> judge(view of the API) + Stage.Check (what is below it)
//	                                         | differs
//	                                         v
//	                                       shrink: the shortest sequence that still fails, printed for -replay
//
// The model is Docker's rules written down a second time and without any of the work: which networks and containers
// there are, what state they are in, who is where, what is bound, and what is refused with which class of error. What
// the program chooses by itself (ids, addresses, random ports) the model learns when it sees it; from then on it has to
// stay.
//
// An operation during which a fault happens may be done or refused; what it is not about must not change, and what
// is left of it has to be whole: either the old or the new, or a container that does not run. The stage then looks at
// what no API shows: endpoints, names, listeners, processes, files, descriptors.
//
// # Lifetime
//
// A Stage lives as long as one sequence. It ends everything that it has made.
//
// # Concurrency
//
// A sequence is run by one goroutine, so that it can be replayed; what the daemon does behind its back is waited
// for by asking again. With several clients at once there is no model, only what must hold whatever happened before.
package lifecycle
