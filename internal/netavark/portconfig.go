package netavark

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// PortConfig is what podman's port forwarder, rootlessport, reads when it is started.
type PortConfig struct {
	Mappings    []PortMapping
	NetNSPath   string
	ExitFD      int    // a pipe, whose end is the forwarder's
	ReadyFD     int    // gets one byte when the ports are open
	TmpDir      string // the socket for changes is below it
	ChildIP     string
	ContainerID string
	RootlessCNI bool // whether there is such a socket
}

// ReadPortConfig reads it.
func ReadPortConfig(r io.Reader) (PortConfig, error) {
	c, err := read[PortConfig](r)
	switch {
	case err != nil:
	case c.ContainerID == "" || strings.ContainsAny(c.ContainerID, "/\x00") || strings.HasPrefix(c.ContainerID, "."):
		err = fmt.Errorf("%w: ContainerID %q", ErrInput, c.ContainerID)
	case c.ExitFD < 3 || c.ReadyFD < 3 || c.ExitFD == c.ReadyFD:
		err = fmt.Errorf("%w: ExitFD %d and ReadyFD %d: two descriptors above the standard ones are meant", ErrInput, c.ExitFD, c.ReadyFD)
	case c.RootlessCNI && !filepath.IsAbs(c.TmpDir):
		err = fmt.Errorf("%w: TmpDir %q is not an absolute path", ErrInput, c.TmpDir)
	}
	return c, err
}

// Socket is the path of the socket (unixpacket) at which podman tells the container's new
// address, a JSON string, after `podman network connect` and disconnect.
func (c PortConfig) Socket() string { return filepath.Join(c.TmpDir, "rp", c.ContainerID) }
