package lifecycle

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Kind is what an operation does.
type Kind string

// The operations of Docker's API.
const (
	NetCreate  Kind = "network create"
	NetRemove  Kind = "network rm"
	NetPrune   Kind = "network prune"
	Connect    Kind = "network connect"
	Disconnect Kind = "network disconnect"
	Create     Kind = "create"
	Start      Kind = "start"
	Stop       Kind = "stop"
	Kill       Kind = "kill"
	Restart    Kind = "restart"
	Rename     Kind = "rename"
	Remove     Kind = "rm"
	Prune      Kind = "prune"
	Exec       Kind = "exec"
	Publish    Kind = "publish"
	Unpublish  Kind = "unpublish"
)

// What happens to containers and to the daemon without anybody asking for it.
const (
	End      Kind = "command ends"
	EndShim  Kind = "shim is killed"
	Reopen   Kind = "daemon is restarted"
	Worker   Kind = "worker is killed"
	HostBind Kind = "somebody takes a port"
	HostFree Kind = "somebody frees a port"
	NSMake   Kind = "somebody makes a namespace"
	NSDrop   Kind = "somebody's namespace vanishes"
)

// Op is one operation. It names everything by small numbers and needs nothing of those before it, so a sequence of
// operations stays one when some are left out.
type Op struct {
	Kind   Kind   `json:"op"`
	C      int    `json:"c,omitempty"`      // container
	Other  int    `json:"other,omitempty"`  // container whose network is shared, or whose name is wanted
	N      []int  `json:"n,omitempty"`      // networks; 0 is the default one
	Shape  int    `json:"shape,omitempty"`  // of a new network, see shapes
	Mode   string `json:"mode,omitempty"`   // of a new container: "" for networks, host, none, container or ns
	Static int    `json:"static,omitempty"` // last byte of the IPv4 address asked for on the first network
	Alias  int    `json:"alias,omitempty"`  // on the first network
	Ports  []int  `json:"ports,omitempty"`  // published, see portSpecs; of HostBind the port itself
	Flag   bool   `json:"flag,omitempty"`   // --rm of a new container, --force of rm

	// Fault happens in the middle of the operation, when a step of that name is taken for the Nth time. With Crash
	// the daemon dies there.
	Fault string `json:"fault,omitempty"`
	Nth   int    `json:"nth,omitempty"`
	Crash bool   `json:"crash,omitempty"`
}

// ctrName and netName are the names by which the program knows them: none that could be the beginning of an id.
func ctrName(i int) string { return fmt.Sprintf("x%d", i) }
func netName(i int) string {
	if i == 0 {
		return "bridge"
	}
	return fmt.Sprintf("n%d", i)
}

func (o Op) String() string {
	b, err := json.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// writeOps writes a sequence, one operation a line, as readOps reads it.
func writeOps(w io.Writer, ops []Op) error {
	for _, o := range ops {
		if _, err := fmt.Fprintln(w, o); err != nil {
			return err
		}
	}
	return nil
}

func readOps(r io.Reader) ([]Op, error) {
	var ops []Op
	for s := bufio.NewScanner(r); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] != '{' {
			continue
		}
		var o Op
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			return nil, fmt.Errorf("operation %s: %w", line, err)
		}
		ops = append(ops, o)
	}
	return ops, nil
}
