package world

import (
	"encoding/hex"
	"net/netip"
	"sort"
	"strconv"
	"strings"
)

// Snapshot is what can be left behind on the host: processes, listeners, the user's files, mounts and network
// interfaces, each as one line of text.
type Snapshot map[string]bool

// snapshotScript prints what a Snapshot consists of. Its own processes are told apart by their session.
const snapshotScript = `
me=$(cut -d' ' -f6 /proc/self/stat)
for p in /proc/[0-9]*; do
	[ "$(cut -d' ' -f6 $p/stat 2>/dev/null)" = "$me" ] && continue
	c=$(tr '\0' ' ' <$p/cmdline 2>/dev/null) || continue
	[ -n "$c" ] && echo "process ${p#/proc/} $c"
done
for f in tcp tcp6 udp udp6; do
	tail -n +2 /proc/net/$f | while read -r n local remote state rest; do echo "socket $f $local $state"; done
done
tail -n +2 /proc/net/unix | while read -r a b c d e f i path; do
	case "$path" in @*) echo "unix $path";; esac
done
cut -d' ' -f5 /proc/self/mountinfo | sed 's/^/mount /'
tail -n +3 /proc/net/dev | cut -d: -f1 | sed 's/^ */link /'
find "$XDG_RUNTIME_DIR" /tmp -mindepth 1 -not -path '/tmp/fbw*' -not -path "$HOME/*" 2>/dev/null | sed 's/^/file /'
`

// Snapshot looks at the host as it is now.
func (w *World) Snapshot() Snapshot {
	s := make(Snapshot)
	r := w.Run(Host, "sh", "-c", snapshotScript)
	for _, line := range strings.Split(r.Stdout, "\n") {
		if fields := strings.Fields(line); len(fields) == 4 && fields[0] == "socket" {
			line = listener(fields[1], fields[2], fields[3])
		}
		if line != "" {
			s[line] = true
		}
	}
	return s
}

// Since lists what is in the snapshot and was not in the earlier one, sorted.
func (s Snapshot) Since(earlier Snapshot) []string {
	var list []string
	for line := range s {
		if !earlier[line] {
			list = append(list, line)
		}
	}
	sort.Strings(list)
	return list
}

// listener words a line of /proc/net/tcp and its sisters; "" for what does not listen.
func listener(protocol, local, state string) string {
	const listening, unconnected = "0A", "07"
	tcp := strings.HasPrefix(protocol, "tcp")
	if tcp && state != listening || !tcp && state != unconnected {
		return ""
	}
	address, port, _ := strings.Cut(local, ":")
	b, err := hex.DecodeString(address)
	if err != nil {
		return ""
	}
	// The kernel prints words of four bytes in the machine's order.
	for i := 0; i+4 <= len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	ip, ok := netip.AddrFromSlice(b)
	n, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return ""
	}
	return strings.TrimSuffix(protocol, "6") + " " + netip.AddrPortFrom(ip, uint16(n)).String()
}
