package foreign

import (
	"os"

	"github.com/footbridge-net/footbridge/tap"
)

// At is the place of a process, or of a path whose namespace is open as net, for Await alone:
// nothing is asked about whose it is.
//
// Errors: ErrGone.
func At(pid int, path string, net *os.File) (p Place, err error) {
	p.Net = path
	if p.Boot, err = boot(); err != nil {
		return p, err
	}
	if path == "" {
		p.Process, err = Find(pid)
		return p, err
	}
	p.Dev, p.Ino, err = identity(tap.Namespaces{Net: net})
	return p, err
}
