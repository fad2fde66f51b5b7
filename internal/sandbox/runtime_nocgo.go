//go:build !cgo

package sandbox

// cRuntime is what programs with cgo need in addition: this one has none.
func cRuntime() []call { return nil }

// warmC is for programs with cgo.
func warmC() {}
