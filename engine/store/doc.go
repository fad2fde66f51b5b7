// Package store keeps the engine's definitions on disk: one bbolt file, one
// bucket a noun, one JSON value a key.
//
//	engine --Save(changes...)--> one transaction --> state.db
//	       <--Load(bucket)------                      |- meta:       version = 1
//	                                                  |- networks:   id -> JSON
//	                                                  `- containers: id -> JSON
//
// The store knows no networks and no containers; it keeps bytes by bucket and
// key, all changes of one Save or none. A file that cannot be read is never
// deleted and never written to: it is renamed to state.db.damaged-TIME, and an
// empty one takes its place. A file of no bytes is damaged too.
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
