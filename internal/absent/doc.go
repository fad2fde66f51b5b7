// Package absent says what Docker has and footbridge has not, in one sentence each, so
// that whoever asks reads the same by whichever way:
//
//	footbridge run --read-only ...   cmd/footbridge --+
//	docker run --read-only ...       engine ----------+--> ReadOnlyRoot
//	footbridge images                cmd/footbridge --+
//	docker pull debian               api -------------+--> Images
//
// The words "not supported" of operations matter: docker's command line, when it looks for a
// name among objects of every kind, goes on to the next kind when it reads them.
//
// # Lifetime
//
// Nothing is kept.
//
// # Concurrency
//
// There are constants and pure functions.
package absent
