// Command demo shows what footbridge does, live: it makes a world (see package world), gives a user's commands in it,
// prints each with its real output, and ends with a table of what was shown.
//
//	scenes --> commands of the user and of a remote client, in a world --> what they print, checked
//	                                                                  '--> the table; exit status 1 if one failed
//
// # Lifetime
//
// The world ends with the program, and with it every container, daemon and file of the demonstration.
//
// # Concurrency
//
// None: one command after the other, as a person would type them.
package main
