// Package platform proves the kernel behaviour that footbridge relies on, each fact by a test of its own.
//
// A feature has a name and the first kernel that has it. A test fails, it does not skip, where the kernel is new
// enough and the feature is missing: then the kernel was built without it, or what we know of it is wrong.
//
//	test --> a user and network namespace of its own --> /dev/net/tun, ping sockets, ioctls of namespaces
//
// # Lifetime
//
// The namespaces end with the test process.
//
// # Concurrency
//
// None.
package platform
