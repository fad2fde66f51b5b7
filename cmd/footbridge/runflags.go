package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/sys/signal"
	"github.com/spf13/pflag"
)

// runFlags are the flags of run that describe the container.
type runFlags struct {
	name, hostname, domainname string
	network                    networkFlag
	simple                     simpleAttachment
	publish, expose            []string
	publishAll                 bool

	env       listFlag
	envFiles  []string
	workdir   string
	user      string
	labels    listFlag
	dns       listFlag
	dnsSearch listFlag
	dnsOption []string
	addHost   listFlag
	links     listFlag

	interactive, tty   bool
	remove             bool
	privileged         bool
	capAdd, capDrop    []string
	sysctls            listFlag
	userns             string
	stopSignal         string
	stopTimeout        int
	stopTimeoutChanged func() bool
	annotations        listFlag
	refused            func() error // what Docker has and footbridge has not
}

func (r *runFlags) register(f *pflag.FlagSet) {
	r.env.check = checkEnv
	r.labels.check = checkLabel
	r.dns.check = func(v string) (string, error) { _, err := parseIP(v); return v, err }
	r.dnsSearch.check = checkDNSSearch
	r.addHost.check = checkAddHost
	r.links.check = checkLink
	r.sysctls.check = checkSysctl

	f.StringVar(&r.name, "name", "", "Assign a name to the container")
	f.StringVarP(&r.hostname, "hostname", "h", "", "Container host name")
	f.StringVar(&r.domainname, "domainname", "", "Container NIS domain name")
	f.Var(&r.network, "network", "Connect the container to a network: NAME, host, none, container:NAME or ns:PATH (may be repeated)")
	f.StringSliceVar(&r.simple.aliases, "network-alias", nil, "Add a name for the container on its first network")
	f.StringVar(&r.simple.ip, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	f.StringVar(&r.simple.ip6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	f.StringSliceVar(&r.simple.linkLocal, "link-local-ip", nil, "")
	f.Lookup("link-local-ip").Hidden = true // it is refused
	f.StringVar(&r.simple.mac, "mac-address", "", "Container MAC address (e.g., 92:d0:c6:0a:29:33)")
	f.Var(&r.links, "link", "Add link to another container: NAME or NAME:ALIAS")
	f.StringArrayVarP(&r.publish, "publish", "p", nil, "Publish a container's port(s) to the host")
	f.StringArrayVar(&r.expose, "expose", nil, "Expose a port or a range of ports")
	f.BoolVarP(&r.publishAll, "publish-all", "P", false, "Publish all exposed ports to random ports")

	f.VarP(&r.env, "env", "e", "Set environment variables")
	f.StringArrayVar(&r.envFiles, "env-file", nil, "Read in a file of environment variables")
	f.StringVarP(&r.workdir, "workdir", "w", "", "Working directory inside the container (default: the current one)")
	f.StringVarP(&r.user, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	f.VarP(&r.labels, "label", "l", "Set meta data on a container")
	f.Var(&r.dns, "dns", "Set custom DNS servers")
	f.Var(&r.dnsSearch, "dns-search", "Set custom DNS search domains")
	f.StringArrayVar(&r.dnsOption, "dns-option", nil, "Set DNS options")
	f.Var(&r.addHost, "add-host", "Add a custom host-to-IP mapping (host:ip, or host:host-gateway)")

	f.BoolVarP(&r.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	f.BoolVarP(&r.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	f.BoolVar(&r.remove, "rm", false, "Automatically remove the container when it exits")
	f.BoolVar(&r.privileged, "privileged", false, "Give the command all capabilities in its own user namespace")
	f.StringArrayVar(&r.capAdd, "cap-add", nil, "Add Linux capabilities")
	f.StringArrayVar(&r.capDrop, "cap-drop", nil, "Drop Linux capabilities")
	f.Var(&r.sysctls, "sysctl", "Sysctl options")
	f.StringVar(&r.userns, "userns", "", "User namespace: 'host-default' maps you to root inside, 'auto' maps a range of subordinate ids")
	f.StringVar(&r.stopSignal, "stop-signal", "", "Signal to stop the container")
	f.IntVar(&r.stopTimeout, "stop-timeout", 0, "Timeout (in seconds) to stop a container")
	// The same value under another name, so that each adds to what the other gave.
	for synonym, flag := range map[string]string{"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"} {
		f.Var(f.Lookup(flag).Value, synonym, "")
		f.Lookup(synonym).Hidden = true
	}
	r.annotations.check = checkAnnotation
	f.Var(&r.annotations, "annotation", "Add an annotation to the container")
	r.refused = registerAbsent(f)
	r.stopTimeoutChanged = func() bool { return f.Changed("stop-timeout") }
}

// request turns flags and the command into what the API wants. cwd is the
// caller's folder.
func (r *runFlags) request(c *cli, command []string, cwd string) (container.CreateRequest, error) {
	fail := func(err error) (container.CreateRequest, error) { return container.CreateRequest{}, err }

	if err := r.refused(); err != nil {
		return fail(err)
	}
	mode, networks, err := networking(r.network.list, r.simple)
	if err != nil {
		return fail(err)
	}
	exposed, bindings, err := parsePublish(r.publish, r.expose)
	if err != nil {
		return fail(err)
	}
	var settings []string
	for _, path := range r.envFiles {
		lines, err := readEnvFile(path)
		if err != nil {
			return fail(err)
		}
		settings = append(settings, lines...)
	}
	settings = append(settings, r.env.values...)
	workdir := cwd
	if r.workdir != "" {
		if !filepath.IsAbs(r.workdir) {
			return fail(fmt.Errorf("the working directory '%s' is invalid, it needs to be an absolute path", r.workdir))
		}
		workdir = r.workdir
	}
	userns, err := parseUserns(r.userns)
	if err != nil {
		return fail(err)
	}
	if r.stopSignal != "" {
		if _, err := signal.ParseSignal(r.stopSignal); err != nil {
			return fail(err)
		}
	}
	servers := make([]netip.Addr, 0, len(r.dns.values))
	for _, text := range r.dns.values {
		addr, err := parseIP(text)
		if err != nil {
			return fail(err)
		}
		servers = append(servers, addr)
	}

	config := &container.Config{
		Hostname:     r.hostname,
		Domainname:   r.domainname,
		User:         r.user,
		ExposedPorts: exposed,
		Tty:          r.tty,
		OpenStdin:    r.interactive,
		Env:          mergeEnv(baseEnv(c.environ, r.tty), resolveEnv(settings, c.lookupEnv)),
		Cmd:          command,
		WorkingDir:   workdir,
		Labels:       keyValues(r.labels.values),
		StopSignal:   r.stopSignal,
	}
	if r.stopTimeoutChanged() {
		config.StopTimeout = &r.stopTimeout
	}
	host := &container.HostConfig{
		NetworkMode:     mode,
		PortBindings:    bindings,
		PublishAllPorts: r.publishAll,
		AutoRemove:      r.remove,
		CapAdd:          r.capAdd,
		CapDrop:         r.capDrop,
		Privileged:      r.privileged,
		DNS:             servers,
		DNSSearch:       r.dnsSearch.values,
		DNSOptions:      r.dnsOption,
		ExtraHosts:      r.addHost.values,
		Links:           r.links.values,
		Sysctls:         keyValues(r.sysctls.values),
		UsernsMode:      userns,
		Annotations:     keyValues(r.annotations.values),
	}
	if size, ok := terminalSize(c.outputTerminal()); ok && r.tty {
		host.ConsoleSize = [2]uint{uint(size.Height), uint(size.Width)}
	}
	return container.CreateRequest{Config: config, HostConfig: host, NetworkingConfig: networks}, nil
}

// parseUserns checks --userns. The default of the host is not sent.
func parseUserns(mode string) (container.UsernsMode, error) {
	switch mode {
	case "", "host-default":
		return "", nil
	case "auto":
		return "auto", nil
	}
	return "", fmt.Errorf("--userns: invalid USER mode %q: it is auto or host-default", mode)
}

// listFlag collects the values of a flag that may be repeated, each checked as
// it comes.
type listFlag struct {
	values []string
	check  func(string) (string, error)
}

func (*listFlag) Type() string   { return "list" }
func (*listFlag) String() string { return "" }

func (l *listFlag) Set(value string) error {
	value, err := l.check(value)
	if err != nil {
		return err
	}
	l.values = append(l.values, value)
	return nil
}

func checkLabel(value string) (string, error) {
	if key, _, _ := strings.Cut(value, "="); strings.TrimSpace(key) == "" {
		return "", fmt.Errorf("invalid label '%s': empty name", value)
	}
	return value, nil
}

func checkAnnotation(value string) (string, error) {
	if key, _, _ := strings.Cut(value, "="); strings.TrimSpace(key) == "" {
		return "", fmt.Errorf("invalid annotation '%s': empty name", value)
	}
	return value, nil
}

func checkDNSSearch(value string) (string, error) {
	value = strings.TrimSpace(value)
	// A dot alone means: no search domain.
	if value == "." || isDomain(strings.TrimSuffix(value, ".")) {
		return value, nil
	}
	return "", fmt.Errorf("%s is not a valid domain", value)
}

// isDomain accepts what host names are made of (RFC 1123, section 2.1), and the
// underscore that service names have.
func isDomain(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label {
			return false
		}
		for _, r := range label {
			if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_') {
				return false
			}
		}
	}
	return true
}

// checkAddHost accepts host:ip and host=ip, the address of IPv6 with or
// without brackets, and returns host:ip.
func checkAddHost(value string) (string, error) {
	host, addr, ok := strings.Cut(value, "=")
	if !ok {
		host, addr, ok = strings.Cut(value, ":")
	}
	if !ok || host == "" {
		return "", fmt.Errorf("bad format for add-host: %q", value)
	}
	if addr == "host-gateway" {
		return host + ":" + addr, nil
	}
	if len(addr) > 2 && addr[0] == '[' && addr[len(addr)-1] == ']' {
		addr = addr[1 : len(addr)-1]
	}
	if _, err := parseIP(addr); err != nil {
		return "", fmt.Errorf("invalid IP address in add-host: %q", addr)
	}
	return host + ":" + addr, nil
}

// checkSysctl accepts the sysctls that belong to the container's namespaces.
func checkSysctl(value string) (string, error) {
	key, _, ok := strings.Cut(value, "=")
	if !ok || key == "" {
		return "", fmt.Errorf("sysctl '%s' is not of the form name=value", value)
	}
	for _, prefix := range []string{"net.", "kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue."} {
		if strings.HasPrefix(strings.ReplaceAll(key, "/", "."), prefix) {
			return value, nil
		}
	}
	return "", fmt.Errorf("sysctl '%s' is not allowed: only net.*, kernel.msg*, kernel.sem, kernel.shm* and fs.mqueue.* belong to a container", value)
}

// keyValues turns K=V texts into a map; a key without a value has an empty one.
func keyValues(list []string) map[string]string {
	m := make(map[string]string, len(list))
	for _, kv := range list {
		key, value, _ := strings.Cut(kv, "=")
		m[key] = value
	}
	return m
}

// callerDir returns the folder that the caller is in, by the name that the
// caller knows it by.
func callerDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", errors.New("the current directory cannot be found (" + err.Error() + "): give one with --workdir")
	}
	return dir, nil
}
