package main

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
)

// check implements CHECK: that the attachment is there, works, and is what ADD has told.
func (p request) check(args *skel.CmdArgs) error {
	c, err := readConfig(args.StdinData)
	if err != nil {
		return err
	}
	if c.prev == nil {
		return badConfig("prevResult is missing: CHECK compares with what ADD answered")
	}
	if err := checkNamespace(args.Netns); err != nil {
		return err
	}
	client, err := p.connect(p.ctx, plugin.Options{})
	if err != nil {
		return fromDaemon(err)
	}
	there, err := client.ContainerInspectAll(p.ctx, containerName(args.ContainerID))
	if errdefs.IsNotFound(err) || err == nil && there.Config.Labels[labelContainer] != args.ContainerID {
		return coded(types.ErrUnknownContainer, fmt.Errorf("container %s is not attached: an ADD attaches it", args.ContainerID))
	}
	if err != nil {
		return fromDaemon(err)
	}
	return compare(c, args, there)
}

// compare says what is not as prevResult has it.
func compare(c *config, args *skel.CmdArgs, there api.ContainerInspect) error {
	fail := func(format string, a ...any) error { return coded(codeRefused, fmt.Errorf(format, a...)) }
	if !sameNamespace(there, args.Netns) {
		return fail("container %s is attached with another network namespace than %s", args.ContainerID, args.Netns)
	}
	e, ok := there.NetworkSettings.Networks[c.name]
	if !ok || e.DriverOpts[optIfname] != args.IfName {
		return coded(types.ErrUnknownContainer, fmt.Errorf("container %s has no interface %s on the network %s", args.ContainerID, args.IfName, c.name))
	}
	if there.State.Error != "" {
		return fail("container %s: %s", args.ContainerID, there.State.Error)
	}
	index := -1
	for i, told := range c.prev.Interfaces {
		if told.Name == args.IfName && told.Sandbox != "" {
			index = i
			mac, err := net.ParseMAC(told.Mac)
			if told.Mac != "" && (err != nil || mac.String() != e.MacAddress.String()) {
				return fail("interface %s has the MAC address %v, and prevResult says %s", args.IfName, e.MacAddress, told.Mac)
			}
		}
	}
	if index < 0 {
		return badConfig("prevResult has no interface %s in the container", args.IfName)
	}
	for _, told := range c.prev.IPs {
		if told.Interface == nil || *told.Interface != index {
			continue
		}
		prefix := prefixOf(told)
		if prefix != endpointPrefix(e.IPAddress, e.IPPrefixLen) && prefix != endpointPrefix(e.GlobalIPv6Address, e.GlobalIPv6PrefixLen) {
			return fail("interface %s does not have the address %v that prevResult says", args.IfName, prefix)
		}
	}
	return nil
}

// prefixOf is an address of a result; invalid if it is none.
func prefixOf(ip *types100.IPConfig) netip.Prefix {
	a, _ := netip.AddrFromSlice(ip.Address.IP)
	ones, _ := ip.Address.Mask.Size()
	return endpointPrefix(a.Unmap(), ones)
}

func endpointPrefix(a netip.Addr, bits int) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, bits)
}
