package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/footbridge-net/footbridge/api"
)

type networkCreateOptions struct {
	driver     string
	options    listFlag
	labels     listFlag
	internal   bool
	attachable bool
	ipv4, ipv6 bool
	noDNS      bool
	dns        []string
	ignore     bool
	scope      string
	ingress    bool
	configOnly bool
	configFrom string
	ipam       ipamFlags
}

func networkCreateCommand(c *cli) *cobra.Command {
	o := networkCreateOptions{options: listFlag{check: checkOption}, labels: listFlag{check: checkLabel}}
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] NETWORK",
		Short: "Create a network",
		Args:  exactArgs(1),
	}
	f := cmd.Flags()
	f.AddFlagSet(o.flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req, err := o.request(args[0], f)
		if err != nil {
			return err
		}
		client, err := c.daemon(cmd.Context())
		if err != nil {
			return err
		}
		created, err := client.NetworkCreate(cmd.Context(), req)
		if o.ignore && errdefs.IsConflict(err) {
			there, ierr := client.NetworkInspect(cmd.Context(), req.Name, api.NetworkInspectOptions{})
			if ierr != nil {
				return errors.Join(err, ierr)
			}
			fmt.Fprintln(c.stdout, there.ID)
			return nil
		}
		if err != nil {
			return err
		}
		if created.Warning != "" {
			fmt.Fprintf(c.stderr, "WARNING: %s\n", created.Warning)
		}
		fmt.Fprintln(c.stdout, created.ID)
		return nil
	}
	return cmd
}

func (o *networkCreateOptions) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.StringVarP(&o.driver, "driver", "d", "bridge", "Driver to manage the Network")
	f.VarP(&o.options, "opt", "o", "Set driver specific options")
	f.Var(&o.labels, "label", "Set metadata on a network")
	f.BoolVar(&o.internal, "internal", false, "Restrict external access to the network")
	f.BoolVar(&o.attachable, "attachable", false, "Enable manual container attachment")
	f.BoolVar(&o.ipv4, "ipv4", true, "Enable or disable IPv4 address assignment")
	f.BoolVar(&o.ipv6, "ipv6", false, "Enable or disable IPv6 address assignment (default: enabled if an IPv6 --subnet is given)")
	f.BoolVar(&o.noDNS, "disable-dns", false, "Let containers not know each other by name")
	f.StringSliceVar(&o.dns, "dns", nil, "DNS server to ask for other names, instead of the host's")
	f.BoolVar(&o.ignore, "ignore", false, "Do not fail if a network of that name exists")
	// What belongs to swarms is refused by the daemon, with its reason.
	f.StringVar(&o.scope, "scope", "", "Control the network's scope")
	f.BoolVar(&o.ingress, "ingress", false, "Create swarm routing-mesh network")
	f.BoolVar(&o.configOnly, "config-only", false, "Create a configuration only network")
	f.StringVar(&o.configFrom, "config-from", "", "The network from which to copy the configuration")
	for _, name := range []string{"scope", "ingress", "config-only", "config-from"} {
		_ = f.MarkHidden(name)
	}
	o.ipam.register(f)
	return f
}

func (o *networkCreateOptions) request(name string, f *pflag.FlagSet) (network.CreateRequest, error) {
	config, ranges, err := o.ipam.config()
	if err != nil {
		return network.CreateRequest{}, err
	}
	options := keyValues(o.options.values)
	names := ""
	if o.noDNS {
		names = "false"
	}
	for key, value := range map[string]string{
		"com.footbridge.ip-range":    strings.Join(ranges, ";"),
		"com.footbridge.dns":         names,
		"com.footbridge.dns.servers": strings.Join(o.dns, ";"),
	} {
		if _, ok := options[key]; ok && value != "" {
			return network.CreateRequest{}, fmt.Errorf("conflicting options: %s is given by a flag of its own and by --opt %s", value, key)
		}
		if value != "" {
			options[key] = value
		}
	}
	req := network.CreateRequest{
		Name:       name,
		Driver:     o.driver,
		IPAM:       &network.IPAM{Driver: o.ipam.driver, Config: config, Options: keyValues(o.ipam.options.values)},
		Internal:   o.internal,
		Attachable: o.attachable,
		Options:    options,
		Labels:     keyValues(o.labels.values),
		Scope:      o.scope,
		Ingress:    o.ingress,
		ConfigOnly: o.configOnly,
	}
	if o.configFrom != "" {
		req.ConfigFrom = &network.ConfigReference{Network: o.configFrom}
	}
	// What was not said is the daemon's to decide.
	if f.Changed("ipv4") {
		req.EnableIPv4 = &o.ipv4
	}
	if f.Changed("ipv6") {
		req.EnableIPv6 = &o.ipv6
	}
	return req, nil
}

func checkOption(value string) (string, error) {
	if key, _, _ := strings.Cut(value, "="); key == "" {
		return "", fmt.Errorf("invalid option %q: it is name=value", value)
	}
	return value, nil
}

// ipamFlags are the flags of network create about addresses.
type ipamFlags struct {
	driver                    string
	options                   listFlag
	subnets, ranges, gateways []string
	aux                       listFlag
}

func (i *ipamFlags) register(f *pflag.FlagSet) {
	i.options.check = checkOption
	i.aux.check = func(v string) (string, error) {
		if name, addr, ok := strings.Cut(v, "="); !ok || name == "" || addr == "" {
			return "", fmt.Errorf("invalid auxiliary address %q: it is name=address", v)
		}
		return v, nil
	}
	f.StringVar(&i.driver, "ipam-driver", "default", "IP Address Management Driver")
	f.Var(&i.options, "ipam-opt", "Set IPAM driver specific options")
	f.StringSliceVar(&i.subnets, "subnet", nil, "Subnet in CIDR format that represents a network segment")
	f.StringSliceVar(&i.ranges, "ip-range", nil, "Allocate container ip from a sub-range: PREFIX or FIRST-LAST")
	f.StringSliceVar(&i.gateways, "gateway", nil, "IPv4 or IPv6 Gateway for the master subnet")
	f.Var(&i.aux, "aux-address", "Auxiliary IPv4 or IPv6 addresses that are left alone (name=address)")
}

// config puts every range, gateway and auxiliary address with the subnet that it
// lies in. What it returns besides are the ranges that are no prefixes, FIRST-LAST.
func (i *ipamFlags) config() (list []network.IPAMConfig, ranges []string, err error) {
	if len(i.subnets) < len(i.ranges) || len(i.subnets) < len(i.gateways) {
		return nil, nil, errors.New("every ip-range or gateway must have a corresponding subnet: give it with --subnet")
	}
	subnets, err := i.parseSubnets()
	if err != nil {
		return nil, nil, err
	}
	for _, text := range i.ranges {
		if first, last, ok := strings.Cut(text, "-"); ok {
			if err := subnets.holdRange(first, last); err != nil {
				return nil, nil, err
			}
			ranges = append(ranges, text)
			continue
		}
		r, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, nil, fmt.Errorf("invalid ip-range %s: it is an address and a length, such as 172.30.5.0/24, or the first and the last address", text)
		}
		subnet := subnets.find(r.Addr())
		switch {
		case subnet == nil || r.Bits() < subnet.Subnet.Bits():
			return nil, nil, fmt.Errorf("no matching subnet for range %s: it lies in none of those given with --subnet", text)
		case subnet.IPRange.IsValid():
			return nil, nil, fmt.Errorf("cannot configure multiple ranges (%s, %s) on the same subnet (%s)", subnet.IPRange, r, subnet.Subnet)
		}
		subnet.IPRange = r
	}
	for _, text := range i.gateways {
		addr, err := parseIP(text)
		if err != nil {
			return nil, nil, fmt.Errorf("invalid gateway %s: it must be an address, such as 172.30.0.1", text)
		}
		subnet := subnets.find(addr)
		switch {
		case subnet == nil:
			return nil, nil, fmt.Errorf("no matching subnet for gateway %s: it lies in none of those given with --subnet", text)
		case subnet.Gateway.IsValid():
			return nil, nil, fmt.Errorf("cannot configure multiple gateways (%s, %s) for the same subnet (%s)", subnet.Gateway, addr, subnet.Subnet)
		}
		subnet.Gateway = addr
	}
	for name, text := range keyValues(i.aux.values) {
		addr, err := parseIP(text)
		if err != nil {
			return nil, nil, fmt.Errorf("invalid auxiliary address %s=%s", name, text)
		}
		subnet := subnets.find(addr)
		if subnet == nil {
			return nil, nil, fmt.Errorf("no matching subnet for aux-address %s: it lies in none of those given with --subnet", text)
		}
		if subnet.AuxAddress == nil {
			subnet.AuxAddress = map[string]netip.Addr{}
		}
		subnet.AuxAddress[name] = addr
	}
	return subnets, ranges, nil
}

// subnetList are the subnets of a network to be.
type subnetList []network.IPAMConfig

// parseSubnets reads --subnet.
func (i *ipamFlags) parseSubnets() (subnetList, error) {
	var list subnetList
	for _, text := range i.subnets {
		subnet, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("invalid subnet %s: it is an address and a length, such as 172.30.0.0/16 or 2001:db8:1::/64", text)
		}
		for _, other := range list {
			if subnet.Overlaps(other.Subnet) {
				return nil, fmt.Errorf("subnets %s and %s overlap: multiple overlapping subnet configuration is not supported", other.Subnet, subnet)
			}
		}
		list = append(list, network.IPAMConfig{Subnet: subnet})
	}
	return list, nil
}

// find returns the subnet that holds an address, or nil.
func (l subnetList) find(addr netip.Addr) *network.IPAMConfig {
	for n := range l {
		if l[n].Subnet.Contains(addr) {
			return &l[n]
		}
	}
	return nil
}

// holdRange refuses a range, given by its ends, that is in none of the subnets.
func (l subnetList) holdRange(first, last string) error {
	a, aerr := parseIP(first)
	b, berr := parseIP(last)
	if aerr != nil || berr != nil {
		return fmt.Errorf("invalid ip-range %s-%s: it is the first and the last address", first, last)
	}
	if s := l.find(a); s == nil || !s.Subnet.Contains(b) {
		return fmt.Errorf("no matching subnet for range %s-%s: it lies in none of those given with --subnet", first, last)
	}
	return nil
}
