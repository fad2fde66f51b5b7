package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"

	"github.com/footbridge-net/footbridge/engine"
	"github.com/footbridge-net/footbridge/engine/ipam"
)

// daemonSettings are what footbridge.toml may hold, by the keys of Docker's daemon.json. The
// zero value of a field: it is not there. The daemon has a flag for each of them.
type daemonSettings struct {
	AddressPools []addressPool                `toml:"default-address-pools"`
	BIP          netip.Prefix                 `toml:"bip"`
	BIP6         netip.Prefix                 `toml:"bip6"`
	FixedCIDR    netip.Prefix                 `toml:"fixed-cidr"`
	FixedCIDR6   netip.Prefix                 `toml:"fixed-cidr-v6"`
	IPv6         *bool                        `toml:"ipv6"`
	MTU          *int                         `toml:"mtu"`
	ICC          *bool                        `toml:"icc"`
	IP           netip.Addr                   `toml:"ip"`
	DefaultNames *bool                        `toml:"default-network-names"`
	NetworkOpts  map[string]map[string]string `toml:"default-network-opts"`
	DNS          []netip.Addr                 `toml:"dns"`
	DNSSearch    []string                     `toml:"dns-search"`
	DNSOpts      []string                     `toml:"dns-opts"`
	HostGateway  []netip.Addr                 `toml:"host-gateway-ips"`
	IdleTimeout  string                       `toml:"idle-timeout"`
	LogLevel     string                       `toml:"log-level"`
}

// addressPool is a range that is cut into subnets of a length.
type addressPool struct {
	Base netip.Prefix `toml:"base"`
	Size int          `toml:"size"`
}

// errSettings: the configuration cannot be used.
var errSettings = errors.New("invalid configuration")

// register makes the flags of the settings, but for those that the daemon has anyway.
// They have the names of dockerd's.
func (s *daemonSettings) register(f *pflag.FlagSet) {
	f.Var(poolsFlag{&s.AddressPools}, "default-address-pool", "Address pool that networks get their subnets from: base=PREFIX,size=LENGTH")
	f.Var(prefixFlag{&s.BIP}, "bip", "IPv4 address of the default network's gateway, with the subnet's length")
	f.Var(prefixFlag{&s.BIP6}, "bip6", "IPv6 address of the default network's gateway, with the subnet's length")
	f.Var(prefixFlag{&s.FixedCIDR}, "fixed-cidr", "IPv4 range that containers on the default network get their addresses from")
	f.Var(prefixFlag{&s.FixedCIDR6}, "fixed-cidr-v6", "IPv6 range that containers on the default network get their addresses from")
	boolFlag(f, &s.IPv6, "ipv6", "IPv6 on the default network")
	f.Var(intFlag{&s.MTU}, "mtu", "MTU of the default network in bytes")
	boolFlag(f, &s.ICC, "icc", "Let containers on the default network reach each other (default true)")
	f.Var(addrFlag{&s.IP}, "ip", "Address of this host that ports of containers on the default network are published at (default all)")
	boolFlag(f, &s.DefaultNames, "default-network-names", "Let containers on the default network know each other by name")
	f.Var(optsFlag{&s.NetworkOpts}, "default-network-opt", "Option of networks that are created without it: DRIVER=KEY=VALUE")
	f.Var(addrsFlag{&s.DNS}, "dns", "DNS server to use instead of the host's")
	f.Var(listsFlag{&s.DNSSearch}, "dns-search", "DNS search domain to use instead of the host's")
	f.Var(listsFlag{&s.DNSOpts}, "dns-opt", "DNS option to use instead of the host's")
	f.Var(addrsFlag{&s.HostGateway}, "host-gateway-ip", `Address that "host-gateway" stands for (default: the gateway's)`)
}

// configPath is where the configuration is, from the environment; empty if there is no
// home folder.
func configPath(getenv func(string) string) string {
	if base := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "footbridge", "footbridge.toml")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".config", "footbridge", "footbridge.toml")
	}
	return ""
}

// maxSettings bounds the file, in bytes.
const maxSettings = 1 << 20

// readSettings reads the file at path; one that is not there is empty unless somebody
// has named it.
func readSettings(path string, named bool) (*daemonSettings, error) {
	if path == "" {
		return &daemonSettings{}, nil
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return &daemonSettings{}, nil
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errSettings, err)
	case !st.Mode().IsRegular() || st.Size() > maxSettings:
		return nil, fmt.Errorf("%w: %s is not a file of at most %d bytes", errSettings, path, maxSettings)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSettings, err)
	}
	s, err := parseSettings(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errSettings, path, err)
	}
	return s, nil
}

// parseSettings reads TOML. A key that is not known is an error: it would look like one
// that works.
func parseSettings(text []byte) (*daemonSettings, error) {
	var s daemonSettings
	d := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	err := d.Decode(&s)
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		var keys []string
		for _, e := range unknown.Errors {
			row, _ := e.Position()
			keys = append(keys, fmt.Sprintf("%s (line %d)", strings.Join(e.Key(), "."), row))
		}
		return nil, fmt.Errorf("unknown key %s: known are %s", strings.Join(keys, ", "), strings.Join(settingsKeys(), ", "))
	case errors.As(err, &wrong) && isWrongKind(wrong):
		row, _ := wrong.Position()
		return nil, wrongKind(strings.Split(string(text), "\n")[row-1], row, wrong.Key())
	case errors.As(err, &wrong):
		row, column := wrong.Position()
		at := fmt.Sprintf("line %d, column %d", row, column)
		if key := strings.Join(wrong.Key(), "."); key != "" {
			at += ", " + key
		}
		return nil, fmt.Errorf("%s: %s", at, strings.TrimPrefix(wrong.Error(), "toml: "))
	case err != nil: // of an address alone: a number, true or false, of which the decoder does not say where it is
		return nil, fmt.Errorf("an address stands in quotation marks, such as bip = \"10.9.0.1/24\": look at %s",
			strings.Join(addressKeys(reflect.TypeFor[daemonSettings](), ""), ", "))
	}
	return &s, nil
}

// settingsKeys are the known keys, in the order in which they are documented.
func settingsKeys() []string {
	var keys []string
	t := reflect.TypeFor[daemonSettings]()
	for i := range t.NumField() {
		keys = append(keys, t.Field(i).Tag.Get("toml"))
	}
	return keys
}

// addressKeys are the keys of a table whose values are addresses, with what comes before them in a key of the file.
func addressKeys(table reflect.Type, before string) []string {
	var keys []string
	for i := range table.NumField() {
		key, of := before+table.Field(i).Tag.Get("toml"), table.Field(i).Type
		if of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		switch {
		case of == reflect.TypeFor[netip.Addr](), of == reflect.TypeFor[netip.Prefix]():
			keys = append(keys, key)
		case of.Kind() == reflect.Struct:
			keys = append(keys, addressKeys(of, key+".")...)
		}
	}
	return keys
}

// join adds what the file says to what the flags say. Both for one thing are refused, as
// Docker does: one of them would be without effect.
func (s *daemonSettings) join(file *daemonSettings) error {
	to, from := reflect.ValueOf(s).Elem(), reflect.ValueOf(file).Elem()
	var both []string
	for i, key := range settingsKeys() {
		switch {
		case from.Field(i).IsZero():
		case to.Field(i).IsZero():
			to.Field(i).Set(from.Field(i))
		default:
			both = append(both, fmt.Sprintf("%s: (from flag: %v, from file: %v)", key, plainValue(to.Field(i)), plainValue(from.Field(i))))
		}
	}
	if len(both) > 0 {
		return fmt.Errorf("%w: the following directives are specified both as a flag and in the configuration file: %s", errSettings, strings.Join(both, ", "))
	}
	return nil
}

func plainValue(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return v.Interface()
}

// config is what the settings mean.
func (s *daemonSettings) config() engine.Config {
	c := engine.Config{
		Default: engine.DefaultNetwork{
			Subnet4: s.BIP, Subnet6: s.BIP6, Range4: s.FixedCIDR, Range6: s.FixedCIDR6, Publish: s.IP,
			IPv6: s.IPv6 != nil && *s.IPv6, NoICC: s.ICC != nil && !*s.ICC, Names: s.DefaultNames != nil && *s.DefaultNames,
		},
		NetworkOptions: s.NetworkOpts,
		Resolvers:      engine.Resolvers{Servers: s.DNS, Search: s.DNSSearch, Options: s.DNSOpts},
		HostGateway:    s.HostGateway,
	}
	if s.MTU != nil {
		c.Default.MTU = *s.MTU
	}
	for _, p := range s.AddressPools {
		c.Pools = append(c.Pools, ipam.Base{Prefix: p.Base, Bits: p.Size})
	}
	return c
}

// The flags' values.
type (
	poolsFlag  struct{ to *[]addressPool }
	prefixFlag struct{ to *netip.Prefix }
	addrFlag   struct{ to *netip.Addr }
	addrsFlag  struct{ to *[]netip.Addr }
	listsFlag  struct{ to *[]string }
	intFlag    struct{ to **int }
	switchFlag struct{ to **bool }
	optsFlag   struct{ to *map[string]map[string]string }
)

func (poolsFlag) Type() string    { return "pool-options" }
func (prefixFlag) Type() string   { return "prefix" }
func (addrFlag) Type() string     { return "ip" }
func (addrsFlag) Type() string    { return "ip" }
func (listsFlag) Type() string    { return "list" }
func (intFlag) Type() string      { return "int" }
func (switchFlag) Type() string   { return "bool" }
func (optsFlag) Type() string     { return "list" }
func (poolsFlag) String() string  { return "" }
func (prefixFlag) String() string { return "" }
func (addrFlag) String() string   { return "" }
func (addrsFlag) String() string  { return "" }
func (listsFlag) String() string  { return "" }
func (intFlag) String() string    { return "" }
func (switchFlag) String() string { return "" }
func (optsFlag) String() string   { return "" }

func (f poolsFlag) Set(text string) error {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return err
	}
	var p addressPool
	for _, field := range fields {
		switch key, value, _ := strings.Cut(field, "="); key {
		case "base":
			p.Base, err = netip.ParsePrefix(value)
		case "size":
			p.Size, err = strconv.Atoi(value)
		default:
			err = errors.New("it is base=PREFIX,size=LENGTH")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	*f.to = append(*f.to, p)
	return nil
}

func (f prefixFlag) Set(text string) (err error) {
	*f.to, err = netip.ParsePrefix(text)
	return err
}

func (f addrFlag) Set(text string) (err error) {
	*f.to, err = netip.ParseAddr(text)
	return err
}

func (f addrsFlag) Set(text string) error {
	a, err := netip.ParseAddr(text)
	*f.to = append(*f.to, a)
	return err
}

func (f listsFlag) Set(text string) error {
	*f.to = append(*f.to, text)
	return nil
}

func (f intFlag) Set(text string) error {
	n, err := strconv.Atoi(text)
	*f.to = &n
	return err
}

func (f switchFlag) Set(text string) error {
	on, err := strconv.ParseBool(text)
	*f.to = &on
	return err
}

func boolFlag(f *pflag.FlagSet, to **bool, name, help string) {
	f.VarPF(switchFlag{to}, name, "", help).NoOptDefVal = "true"
}

func (f optsFlag) Set(text string) error {
	driver, option, _ := strings.Cut(text, "=")
	key, value, ok := strings.Cut(option, "=")
	if !ok || driver == "" || key == "" {
		return errors.New("it is DRIVER=KEY=VALUE")
	}
	if *f.to == nil {
		*f.to = map[string]map[string]string{}
	}
	if (*f.to)[driver] == nil {
		(*f.to)[driver] = map[string]string{}
	}
	(*f.to)[driver][key] = value
	return nil
}
