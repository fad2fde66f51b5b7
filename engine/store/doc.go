// Package store keeps the engine's definitions on disk: one bbolt file, one
// bucket a noun, one JSON value a key.
//
//	engine --Save(changes...)--> one transaction --> state.db
//	       <--Load(bucket)------                      |- meta:       version = 1
//	                                                  |- networks:   id -> JSON
//	                                                  `- containers: id -> JSON
//
//	                                              |
//	                                              +--a while later--> state.db.bak
//
// The store knows no networks and no containers; it keeps bytes by bucket and
// key, all changes of one Save or none.
//
// The power may fail at any write: the file opens by itself with the last Save that
// returned, or the one under way. Where the disk is at fault, or somebody wrote to
// the file, it is damaged, and a file of no bytes is, too. It is then never deleted
// and never written to: it gets the name state.db.damaged-TIME, and the last good copy
// takes its place, or an empty file when that cannot be read either. The copy is made
// some seconds after a change, of a file that has been read to its end at the start.
//
// # Lifetime
//
// Open takes the file's lock, Close gives it back. A process that dies in the
// middle of a Save leaves the state before it: bbolt writes copies of the pages it
// changes and publishes them by one checksummed meta page.
//
// # Concurrency
//
// Every method may be called from any goroutine; bbolt lets one writer at a time
// through. Save waits for the disk: do not call it with a lock held that packets
// or other users wait for.
package store
