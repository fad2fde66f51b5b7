package slirp

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// Kind is how the network is named that is to be led outside.
type Kind string

// Kinds of --netns-type, and of --target-type.
const (
	ByPID  Kind = "pid"
	ByPath Kind = "path"
	ByFD   Kind = "tapfd" // an open TAP
	BESS   Kind = "bess"  // a unix socket to be made, whose client sends frames
)

// Limits and defaults of the command line.
const (
	defaultMTU  = 1500
	maxMTU      = 65521
	defaultCIDR = "10.0.2.0/24"
	minPrefix   = 1
	maxPrefix   = 25
)

// Options are a command line that was understood.
type Options struct {
	Kind     Kind
	PID, FD  int    // of ByPID, ByFD
	Path     string // of ByPath, BESS
	TAP      string // name of the interface, of ByPID and ByPath
	UserPath string // of the user namespace; "" = that of the network namespace

	Configure bool
	MAC       packet.MAC // zero = the kernel's choice
	MTU       int        // bytes
	CIDR      netip.Prefix
	IPv6      bool
	NoHost    bool // the host's loopback is not reached
	NoDNS     bool
	// Outbound4 and Outbound6 are addresses or interfaces that flows leave by; "" = any.
	Outbound4, Outbound6 string

	APISocket       string // path; "" = none
	ReadyFD, ExitFD int    // -1 = none
}

// Command is what a command line asks for.
type Command struct {
	Options
	// Said are lines for standard output, to come before all else.
	Said []string
	// Show is "help" or "version", or "" for Options to be done.
	Show string
}

// usageError is a command line that is not understood: its text goes to standard error.
type usageError struct {
	text  string
	usage bool // the usage is shown, too
}

func (e *usageError) Error() string { return e.text }

func misuse(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...), true} }

func refuse(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...), false}
}

// errShow ends the reading of a command line where one asks for help or the version.
var errShow = errors.New("shown")

// Parse reads a command line, without the program's name. It touches nothing: what is named
// may not be there. Errors have slirp4netns's own words; what was said until then is in
// Command.Said.
func Parse(program string, args []string) (Command, error) {
	p := parser{
		c:     Command{Options: Options{Kind: ByPID, FD: -1, MTU: defaultMTU, ReadyFD: -1, ExitFD: -1}},
		given: make(map[string]bool),
	}
	positional, err := scan(program, args, p.take)
	if errors.Is(err, errShow) {
		return p.c, nil
	}
	if err == nil {
		err = p.finish(positional)
	}
	return p.c, err
}

type parser struct {
	c                  Command
	kind, target, cidr string
	mac                string
	given              map[string]bool
	err                error // of the option that was taken last
}

// options are in the order in which help names them.
var options = []option{
	{"configure", 'c', false, "", func(p *parser, _ string) { p.c.Configure = true }},
	{"exit-fd", 'e', true, "", func(p *parser, v string) { p.c.ExitFD, p.err = descriptor(v, "exit-fd") }},
	{"ready-fd", 'r', true, "", func(p *parser, v string) { p.c.ReadyFD, p.err = descriptor(v, "ready-fd") }},
	{"mtu", 'm', true, "", func(p *parser, v string) { p.c.MTU, p.err = parseMTU(v) }},
	{"no-host-loopback", 0, false, deprecated("no-host-loopback", "disable-host-loopback"), func(p *parser, _ string) { p.c.NoHost = true }},
	{"cidr", 0, true, "", func(p *parser, v string) { p.cidr = v }},
	{"disable-host-loopback", 0, false, "", func(p *parser, _ string) { p.c.NoHost = true }},
	{"netns-type", 0, true, "", func(p *parser, v string) { p.kind = v }},
	{"userns-path", 0, true, "", func(p *parser, v string) { p.c.UserPath = v }},
	{"api-socket", 'a', true, "", func(p *parser, v string) { p.c.APISocket = v }},
	{"enable-ipv6", '6', false, experimental("IPv6"), func(p *parser, _ string) { p.c.IPv6 = true }},
	{"create-sandbox", 0, false, deprecated("create-sandbox", "enable-sandbox"), nil},
	{"enable-sandbox", 0, false, "", nil},
	{"enable-seccomp", 0, false, experimental("seccomp"), nil},
	{"help", 'h', false, "", func(p *parser, _ string) { p.c.Show, p.err = "help", errShow }},
	{"version", 'v', false, "", func(p *parser, _ string) { p.c.Show, p.err = "version", errShow }},
	{"outbound-addr", 0, true, experimental("--outbound-addr"), func(p *parser, v string) { p.c.Outbound4 = v }},
	{"outbound-addr6", 0, true, experimental("--outbound-addr6"), func(p *parser, v string) { p.c.Outbound6 = v }},
	{"disable-dns", 0, false, "", func(p *parser, _ string) { p.c.NoDNS = true }},
	{"macaddress", 0, true, "", func(p *parser, v string) { p.mac = v }},
	{"target-type", 0, true, "", func(p *parser, v string) { p.target = v }},
}

func deprecated(old, instead string) string {
	return fmt.Sprintf("WARNING: --%s is deprecated and will be removed in future releases, please use --%s instead.", old, instead)
}

func experimental(what string) string { return "WARNING: Support for " + what + " is experimental" }

// take is called for each option in turn.
func (p *parser) take(o *option, value string) error {
	p.given[o.long] = true
	if o.warns != "" {
		p.say(o.warns)
	}
	if o.set != nil {
		o.set(p, value)
	}
	return p.err
}

func (p *parser) say(line string) { p.c.Said = append(p.c.Said, line) }

// finish reads what is left, and what only makes sense together.
func (p *parser) finish(positional []string) error {
	c := &p.c
	if p.mac != "" && !c.Configure {
		return misuse("--macaddr cannot be specified when --configure or -c is not specified")
	}
	if err := p.findKind(); err != nil {
		return err
	}
	if err := p.findPlace(positional); err != nil {
		return err
	}
	var err error
	if c.CIDR, err = parseCIDR(p.cidr); err != nil {
		return err
	}
	if p.mac != "" {
		c.MAC, err = parseMAC(p.mac)
	}
	return err
}

func (p *parser) findKind() error {
	c := &p.c
	switch p.target {
	case "", "netns":
	case string(BESS):
		for _, name := range []string{"configure", "netns-type", "userns-path"} {
			if p.given[name] {
				return misuse("--%s conflicts with --target-type=bess", name)
			}
		}
		p.say("WARNING: BESS mode is experimental")
		c.Kind = BESS
		return nil
	default:
		return misuse(`--target-type must be either "netns" or "bess"`)
	}
	switch p.kind {
	case "", string(ByPID):
		c.Kind = ByPID
	case string(ByFD):
		c.Kind = ByFD
	default: // as slirp4netns has it
		c.Kind = ByPath
	}
	return nil
}

// findPlace reads the arguments that are no options.
func (p *parser) findPlace(positional []string) (err error) {
	c := &p.c
	most := 2
	if c.Kind == ByFD || c.Kind == BESS {
		most = 1
	}
	if len(positional) < most {
		return &usageError{"", true}
	}
	if len(positional) > most {
		p.say("WARNING: too many arguments")
	}
	switch place := positional[0]; c.Kind {
	case ByPID:
		if c.PID, err = number(place); err != nil || c.PID <= 0 || c.PID > math.MaxInt32 {
			return misuse("PID must be a positive integer")
		}
	case ByFD:
		c.FD, err = descriptor(place, "tapfd")
	case ByPath, BESS:
		c.Path = place
	}
	if err == nil && most == 2 {
		c.TAP = positional[1]
	}
	return err
}

// number reads a number as strtol(3) does whose end is checked.
func number(s string) (int, error) {
	return strconv.Atoi(strings.TrimLeft(s, " \t\n\v\f\r"))
}

func parseMTU(s string) (int, error) {
	n, err := number(s)
	if err != nil || n < 1 || n > maxMTU {
		return n, misuse("MTU must be a positive integer (< %d)", maxMTU+1)
	}
	return n, nil
}

// descriptor reads the number of an open file. As in slirp4netns nothing is 0.
func descriptor(s, what string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := number(s)
	if err != nil || n < 0 || n > math.MaxInt32 {
		return -1, misuse("%s must be a non-negative integer", what)
	}
	return n, nil
}

func parseCIDR(s string) (netip.Prefix, error) {
	if s == "" {
		s = defaultCIDR
	}
	network, length, ok := strings.Cut(s, "/")
	digits := func(s, more string) bool { return s != "" && strings.Trim(s, "0123456789"+more) == "" }
	if !ok || !digits(network, ".") || strings.Count(network, ".") != 3 || !digits(length, "") {
		return netip.Prefix{}, refuse("invalid CIDR: %s", s)
	}
	a, err := netip.ParseAddr(network)
	if err != nil {
		return netip.Prefix{}, refuse("invalid network address: %s", network)
	}
	bits, err := strconv.Atoi(length)
	if err != nil || bits < minPrefix || bits > maxPrefix {
		return netip.Prefix{}, refuse("prefix length needs to be %d-%d", minPrefix, maxPrefix)
	}
	p := netip.PrefixFrom(a, bits)
	if p.Masked() != p {
		return netip.Prefix{}, refuse("CIDR needs to be a network address like 10.0.2.0/24, not like 10.0.2.100/24")
	}
	return p, nil
}

func parseMAC(s string) (packet.MAC, error) {
	const must = "macaddress has to be a valid MAC address (hex string, 6 bytes, each byte separated by a ':')."
	m, err := packet.ParseMAC(s)
	switch {
	case len(s) > len("00:00:00:00:00:00"):
		return m, refuse("%q is an invalid MAC address.  Is it too long?\n%s", s, must)
	case err != nil || m.IsMulticast():
		return m, refuse("%q is an invalid MAC address.\n%s", s, must)
	}
	return m, nil
}
