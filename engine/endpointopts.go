package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// optSysctls sets sysctls of an endpoint's interface, when it is made:
// "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.mldv1_unsolicited_report_interval=1".
const optSysctls = "com.docker.network.endpoint.sysctls"

// parseSysctls reads optSysctls. Errors name the sysctl, in Docker's words.
func parseSysctls(options map[string]string) (map[string]string, error) {
	list, ok := options[optSysctls]
	if !ok {
		return nil, nil
	}
	out := map[string]string{}
	for word := range strings.SplitSeq(list, ",") {
		key, value, given := strings.Cut(word, "=")
		parts := strings.SplitN(key, ".", 5)
		// "ifname" too: Docker's command line writes options in lower case.
		if len(parts) != 5 || parts[0] != "net" || !slices.Contains([]string{"ipv4", "ipv6", "mpls"}, parts[1]) || !strings.EqualFold(parts[3], "IFNAME") {
			return nil, fmt.Errorf("unrecognised network interface sysctl '%s'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'", shown(word))
		}
		if !given || value == "" || !printable(word) || len(word) > maxText || strings.ContainsAny(key, "/") || !plainWord(parts[2]) || !plainWord(parts[4]) {
			return nil, fmt.Errorf("invalid network interface sysctl '%s': it is net.X.Y.IFNAME.Z=V", shown(word))
		}
		parts[3] = "IFNAME"
		out[strings.Join(parts, ".")] = value
	}
	if len(out) > maxSysctls {
		return nil, fmt.Errorf("invalid driver option %s: more than %d sysctls", optSysctls, maxSysctls)
	}
	return out, nil
}

// maxSysctls bounds those of one endpoint: an interface has some hundred.
const maxSysctls = 128

func plainWord(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// noIPv6 reports whether the attachment turns IPv6 off on its interface, by a sysctl:
// it gets no IPv6 address then.
func (a *Attachment) noIPv6() bool {
	sysctls, err := parseSysctls(a.DriverOpts)
	v := sysctls["net.ipv6.conf.IFNAME.disable_ipv6"]
	return err == nil && v != "" && v != "0"
}

// checkInterfaces refuses attachments that want the same interface.
func checkInterfaces(attachments []Attachment) error {
	seen := map[string]bool{}
	for _, a := range attachments {
		name := a.DriverOpts[optIfname]
		if name != "" && seen[name] {
			return invalid("conflicting options: two networks have the interface name %q", name)
		}
		seen[name] = true
	}
	return nil
}

// asksFor reports whether one of the attachments wants an interface of that name.
func asksFor(attachments []Attachment, name string) bool {
	return slices.ContainsFunc(attachments, func(a Attachment) bool { return a.DriverOpts[optIfname] == name })
}

// freeInterface returns the name of the next interface: the one asked for, or
// the first of eth0, eth1 ... that is not there, with what the network has instead of
// eth.
func freeInterface(n *NetworkDef, a Attachment, others []*link, all []Attachment, taken []string) string {
	if name := a.DriverOpts[optIfname]; name != "" {
		return name
	}
	o := n.options()
	prefix := cmp.Or(o.ifacePrefix, "eth")
	for i := 0; ; i++ {
		name := fmt.Sprint(prefix, i)
		if !slices.Contains(taken, name) && !asksFor(all, name) && !slices.ContainsFunc(others, func(l *link) bool { return l.ep.Interface == name }) {
			return name
		}
	}
}
