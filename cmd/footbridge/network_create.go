package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

type networkCreateOptions struct {
	driver     string
	options    listFlag
	labels     listFlag
	internal   bool
	attachable bool
	ipv4, ipv6 bool
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
	f.StringVarP(&o.driver, "driver", "d", "bridge", "Driver to manage the Network")
	f.VarP(&o.options, "opt", "o", "Set driver specific options")
	f.Var(&o.labels, "label", "Set metadata on a network")
	f.BoolVar(&o.internal, "internal", false, "Restrict external access to the network")
	f.BoolVar(&o.attachable, "attachable", false, "Enable manual container attachment")
	f.BoolVar(&o.ipv4, "ipv4", true, "Enable or disable IPv4 address assignment")
	f.BoolVar(&o.ipv6, "ipv6", false, "Enable or disable IPv6 address assignment (default: enabled if an IPv6 --subnet is given)")
	o.ipam.register(f)
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

func (o *networkCreateOptions) request(name string, f *pflag.FlagSet) (network.CreateRequest, error) {
	config, err := o.ipam.config()
	if err != nil {
		return network.CreateRequest{}, err
	}
	req := network.CreateRequest{
		Name:       name,
		Driver:     o.driver,
		IPAM:       &network.IPAM{Driver: o.ipam.driver, Config: config, Options: keyValues(o.ipam.options.values)},
		Internal:   o.internal,
		Attachable: o.attachable,
		Options:    keyValues(o.options.values),
		Labels:     keyValues(o.labels.values),
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
	f.StringSliceVar(&i.ranges, "ip-range", nil, "Allocate container ip from a sub-range")
	f.StringSliceVar(&i.gateways, "gateway", nil, "IPv4 or IPv6 Gateway for the master subnet")
	f.Var(&i.aux, "aux-address", "Auxiliary IPv4 or IPv6 addresses that are left alone (name=address)")
}

// config puts every range, gateway and auxiliary address with the subnet that it
// lies in.
func (i *ipamFlags) config() ([]network.IPAMConfig, error) {
	if len(i.subnets) < len(i.ranges) || len(i.subnets) < len(i.gateways) {
		return nil, errors.New("every ip-range or gateway must have a corresponding subnet: give it with --subnet")
	}
	var list []network.IPAMConfig
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
	// find returns the subnet that holds an address.
	find := func(addr netip.Addr) *network.IPAMConfig {
		for n := range list {
			if list[n].Subnet.Contains(addr) {
				return &list[n]
			}
		}
		return nil
	}
	for _, text := range i.ranges {
		r, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("invalid ip-range %s: it is an address and a length, such as 172.30.5.0/24", text)
		}
		subnet := find(r.Addr())
		switch {
		case subnet == nil || r.Bits() < subnet.Subnet.Bits():
			return nil, fmt.Errorf("no matching subnet for range %s: it lies in none of those given with --subnet", text)
		case subnet.IPRange.IsValid():
			return nil, fmt.Errorf("cannot configure multiple ranges (%s, %s) on the same subnet (%s)", subnet.IPRange, r, subnet.Subnet)
		}
		subnet.IPRange = r
	}
	for _, text := range i.gateways {
		addr, err := parseIP(text)
		if err != nil {
			return nil, fmt.Errorf("invalid gateway %s: it is an address", text)
		}
		subnet := find(addr)
		switch {
		case subnet == nil:
			return nil, fmt.Errorf("no matching subnet for gateway %s: it lies in none of those given with --subnet", text)
		case subnet.Gateway.IsValid():
			return nil, fmt.Errorf("cannot configure multiple gateways (%s, %s) for the same subnet (%s)", subnet.Gateway, addr, subnet.Subnet)
		}
		subnet.Gateway = addr
	}
	for name, text := range keyValues(i.aux.values) {
		addr, err := parseIP(text)
		if err != nil {
			return nil, fmt.Errorf("invalid auxiliary address %s=%s", name, text)
		}
		subnet := find(addr)
		if subnet == nil {
			return nil, fmt.Errorf("no matching subnet for aux-address %s: it lies in none of those given with --subnet", text)
		}
		if subnet.AuxAddress == nil {
			subnet.AuxAddress = map[string]netip.Addr{}
		}
		subnet.AuxAddress[name] = addr
	}
	return list, nil
}
