package netavark

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// ErrUnavailable is in the chain of errors about what podman offers and footbridge has
// not.
var ErrUnavailable = errors.New("not available with the driver footbridge")

// ErrNoSubnet: there is no free one left to choose.
var ErrNoSubnet = errors.New("no free subnet was found")

// Options of podman's that are about what holds here anyway.
const (
	optIsolate        = "isolate"
	optNoDefaultRoute = "no_default_route"
	ipamDriver        = "driver"
	ipamHostLocal     = "host-local"
)

// maxTries bounds how many subnets are looked at before there is none.
const maxTries = 256

// Complete checks a network that is to be made, and fills in what it lacks: subnets
// that share nothing with taken, gateways, and who gives the addresses, which is podman.
// Another attempt leads to other subnets. chosen says whether there are such: then
// another attempt may help where these ones are refused.
//
// Errors: ErrUnavailable, ErrInput, ErrNoSubnet.
func (n *Network) Complete(taken []netip.Prefix, attempt int) (chosen bool, err error) {
	if err := n.checkWish(); err != nil {
		return false, err
	}
	var has4, has6 bool
	for i := range n.Subnets {
		s := &n.Subnets[i]
		if !s.Subnet.IsValid() {
			return false, fmt.Errorf("%w: a subnet without an address", ErrInput)
		}
		s.Subnet = s.Subnet.Masked()
		has := &has6
		if s.Subnet.Addr().Is4() {
			has = &has4
		}
		if *has {
			return false, fmt.Errorf("two subnets of a family are %w: give one for IPv4 and one for IPv6", ErrUnavailable)
		}
		*has = true
	}
	if !has4 && !has6 {
		if err := n.choose(true, taken, attempt); err != nil {
			return false, err
		}
		chosen = true
	}
	if n.IPv6 && !has6 {
		if err := n.choose(false, taken, attempt); err != nil {
			return false, err
		}
		has6, chosen = true, true
	}
	n.IPv6 = has6
	for i := range n.Subnets {
		// Internal networks too: the address is taken, and podman must not give it away.
		if s := &n.Subnets[i]; !s.Gateway.IsValid() {
			s.Gateway = s.Subnet.Addr().Next()
		}
	}
	if n.IPAM == nil {
		n.IPAM = map[string]string{}
	}
	n.IPAM[ipamDriver] = ipamHostLocal
	return chosen, nil
}

// checkWish refuses what is not there. Options that are not named here are footbridge's
// to judge.
func (n *Network) checkWish() error {
	switch d := n.IPAM[ipamDriver]; d {
	case "", ipamHostLocal:
	default:
		return fmt.Errorf("--ipam-driver %s is %w: leave it out, and podman gives the addresses", d, ErrUnavailable)
	}
	if n.Interface != "" {
		return fmt.Errorf("--interface-name %s is %w: its networks have no interface on the host", n.Interface, ErrUnavailable)
	}
	if len(n.Routes) > 0 {
		return fmt.Errorf("--route is %w: containers have a route to each of their networks and a default route", ErrUnavailable)
	}
	switch v := n.Options[optIsolate]; v {
	case "", "true", "1", "strict":
	default:
		return fmt.Errorf("-o %s=%s is %w: its networks do not reach each other", optIsolate, v, ErrUnavailable)
	}
	switch v := n.Options[optNoDefaultRoute]; v {
	case "", "false", "0":
	default:
		return fmt.Errorf("-o %s=%s is %w: a network without a way out is made with --internal", optNoDefaultRoute, v, ErrUnavailable)
	}
	return nil
}

// choose adds a subnet that shares nothing with those that are taken.
func (n *Network) choose(is4 bool, taken []netip.Prefix, attempt int) error {
	for i := attempt * maxTries; i < (attempt+1)*maxTries; i++ {
		p := candidate(n.ID, i, is4)
		if !slices.ContainsFunc(taken, p.Overlaps) {
			n.Subnets = append(n.Subnets, Subnet{Subnet: p})
			return nil
		}
	}
	return fmt.Errorf("%w: give one with --subnet", ErrNoSubnet)
}

// candidate is the i-th subnet that a network may get: of IPv4 one of podman's own
// pools, 10.89.0.0/24 to 10.255.255.0/24, of IPv6 a unique local one (RFC 4193). It
// follows from the network's id, so that networks of which this program does not know
// hardly ever have the same.
func candidate(id string, i int, is4 bool) netip.Prefix {
	const first, last = 89 << 8, 255<<8 | 255 // bytes 2 and 3
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(id), uint64(i)))
	if is4 {
		at := first + binary.BigEndian.Uint64(sum[:])%(last-first+1)
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(at >> 8), byte(at)}), 24)
	}
	a := [16]byte{0: 0xfd}
	copy(a[1:8], sum[8:])
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}
