// Package actors lets a test program act in several places of a world at once: as processes of its own on the machines
// and in the containers, which it asks to do things there.
//
//	driver                                            actor: this program again, under another name (Dispatch)
//	  Hub.Command --> the command of a container, or of a process on a machine
//	  Hub  <------- a unix socket in the run's folder ------- dials, says its name and its pid
//	  Actor.Call -- net/rpc ------------------------------->  the receiver's method
//
// The socket is a file, so it has nothing to do with the network that is under test: actors are reached also while no
// packet passes. A container that is started again brings its actor back under the same name.
//
// What an actor can do is its program's: methods of the receiver that Dispatch makes, of the form that net/rpc wants.
// Held is for receivers that leave things open between two requests.
//
// # Lifetime
//
// An actor ends when its connection does: with the Hub, or its Close. The Hub has one connection for each.
//
// # Concurrency
//
// All methods may be called from many goroutines. Hub.mu guards the list, Actor.mu whether it is gone; requests to one
// actor are under way at the same time, as far as its receiver takes that.
package actors
