// Package buildinfo knows what this program was built from.
//
//	go build -ldflags "-X .../buildinfo.version=1.2.3" --+
//	                                                     +--> Get() Info
//	what the go command stamped into the binary ---------+
//
// **Lifetime**: everything is read once, at the first call.
//
// **Concurrency**: any goroutine may call Get.
package buildinfo
