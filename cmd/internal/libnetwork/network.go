package libnetwork

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

const (
	// optNetwork names a network of footbridge's that is to be used instead of a new one.
	optNetwork = "com.footbridge.network"
	// optDNSAddresses are where a network's name server is found beside its gateway.
	optDNSAddresses = "com.footbridge.dns.addresses"
	// labelNetwork is the label of a network that was made for one of Docker's: its id.
	labelNetwork = "com.footbridge.docker.network"
	// labelEndpoint is the same of an attachment.
	labelEndpoint = "com.footbridge.docker.endpoint"
	// namePrefix begins the names of networks and containers that were made for Docker's.
	namePrefix = "docker-"
	// optIfacePrefix begins the names of interfaces, here and in Docker's own drivers.
	optIfacePrefix = "com.docker.network.container_iface_prefix"
)

func (d *Driver) createNetwork(ctx context.Context, req createNetwork) error {
	if !validID(req.NetworkID) {
		return fmt.Errorf("%q is not the id of a network", clip(req.NetworkID))
	}
	options, err := generic(req.Options)
	if err != nil {
		return err
	}
	pools, err := req.pools()
	if err != nil {
		return err
	}
	client, err := d.client(ctx)
	if err != nil {
		return err
	}
	if name, ok := options[optNetwork]; ok {
		return d.share(ctx, client, req.NetworkID, name, options, pools)
	}
	d.sweep(ctx, client)
	has6 := slices.ContainsFunc(pools, func(p pool) bool { return p.Pool.Addr().Is6() })
	has4 := slices.ContainsFunc(pools, func(p pool) bool { return p.Pool.Addr().Is4() })
	d.addResolvers(options, pools, truth(req.Options, optInternal))
	ask := network.CreateRequest{
		Name: namePrefix + short(req.NetworkID), Driver: "bridge", Internal: truth(req.Options, optInternal),
		EnableIPv4: &has4, EnableIPv6: &has6, Options: options,
		Labels: map[string]string{labelNetwork: req.NetworkID},
		IPAM:   &network.IPAM{Driver: "default"},
	}
	for _, p := range pools {
		config := network.IPAMConfig{Subnet: p.Pool, AuxAddress: map[string]netip.Addr{}}
		if p.Gateway.IsValid() {
			config.Gateway = p.Gateway.Addr()
		}
		for name, a := range p.AuxAddresses {
			config.AuxAddress[name] = a.Addr()
		}
		ask.IPAM.Config = append(ask.IPAM.Config, config)
	}
	_, err = client.NetworkCreate(ctx, ask)
	if errdefs.IsConflict(err) {
		// Of an earlier try whose answer did not arrive.
		if n, ierr := client.NetworkInspect(ctx, ask.Name, api.NetworkInspectOptions{}); ierr == nil && n.Labels[labelNetwork] == req.NetworkID {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	if err := d.records.put(req.NetworkID, record{Network: ask.Name}); err != nil {
		return errors.Join(err, client.NetworkRemove(context.WithoutCancel(ctx), ask.Name))
	}
	return nil
}

// addResolvers has the network's name server answer where dockerd sends its containers to ask
// for names of the outside: at a name server of RootlessKit's own network, which they do not
// reach.
func (d *Driver) addResolvers(options map[string]string, pools []pool, internal bool) {
	if _, given := options[optDNSAddresses]; given || internal {
		return
	}
	var at []string
	for _, a := range d.resolvers() {
		family := slices.ContainsFunc(pools, func(p pool) bool { return p.Pool.Addr().Is4() == a.Is4() && p.Gateway.IsValid() })
		inside := slices.ContainsFunc(pools, func(p pool) bool { return p.Pool.Contains(a) })
		if family && !inside {
			at = append(at, a.String())
		}
	}
	if len(at) > 0 {
		options[optDNSAddresses] = strings.Join(at, ";")
	}
}

// sweep removes networks that were made for some of Docker's which are there no more. dockerd
// forgets a network also if its removal is refused, because others' containers are on it.
func (d *Driver) sweep(ctx context.Context, client Daemon) {
	all, err := client.NetworkList(ctx, api.Filters{"label": {labelNetwork: true}})
	if err != nil {
		return // what is asked for next says why
	}
	for _, n := range all {
		if _, err := d.records.get(n.Labels[labelNetwork]); errors.Is(err, errNoRecord) {
			_ = client.NetworkRemove(ctx, n.ID) // some are in use still
		}
	}
}

// share makes one of Docker's networks a network of footbridge's that is there.
func (d *Driver) share(ctx context.Context, client Daemon, id, name string, options map[string]string, pools []pool) error {
	if len(options) > 1 {
		delete(options, optNetwork)
		return fmt.Errorf("the option %s: network %s has its options already: leave %s out", optNetwork, name, strings.Join(slices.Sorted(maps.Keys(options)), ", "))
	}
	n, err := client.NetworkInspect(ctx, name, api.NetworkInspectOptions{})
	if err != nil {
		return err
	}
	if n.Driver != "bridge" {
		return fmt.Errorf("the option %s: network %s is not one that containers can be attached to: name one that `footbridge network create` has made", optNetwork, name)
	}
	var subnets []string
	have := map[netip.Prefix]netip.Addr{}
	for _, c := range n.IPAM.Config {
		have[c.Subnet] = c.Gateway
		subnets = append(subnets, fmt.Sprintf("--subnet %s --gateway %s", c.Subnet, c.Gateway))
	}
	for _, p := range pools {
		if gateway, ok := have[p.Pool]; !ok || p.Gateway.IsValid() && p.Gateway.Addr() != gateway {
			return fmt.Errorf("the option %s: network %s has other addresses than %s with the gateway %s: make Docker's with %s",
				optNetwork, name, p.Pool, p.Gateway.Addr(), strings.Join(subnets, " "))
		}
	}
	return d.records.put(id, record{Network: n.Name, Shared: true})
}

func (d *Driver) deleteNetwork(ctx context.Context, req endpointID) error {
	rec, err := d.records.get(req.NetworkID)
	if errors.Is(err, errNoRecord) {
		return d.records.remove(req.NetworkID)
	}
	if err != nil {
		return err
	}
	if !rec.Shared {
		client, err := d.client(ctx)
		if err != nil {
			return err
		}
		err = client.NetworkRemove(ctx, rec.Network)
		if errdefs.IsPermissionDenied(err) { // it is used, and dockerd forgets it all the same
			return errors.Join(err, d.records.remove(req.NetworkID))
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return d.records.remove(req.NetworkID)
}

// pools returns the subnets of a request, which footbridge must be able to have.
func (r *createNetwork) pools() ([]pool, error) {
	pools := slices.Concat(r.IPv4Data, r.IPv6Data)
	for _, p := range pools {
		if !p.Pool.IsValid() || p.Pool.Bits() == 0 {
			return nil, errors.New("a network without addresses cannot be made: use the IPAM driver default")
		}
		if p.Gateway.IsValid() && !p.Pool.Contains(p.Gateway.Addr()) {
			return nil, fmt.Errorf("the gateway %s is not in the subnet %s", p.Gateway.Addr(), p.Pool)
		}
	}
	slices.SortStableFunc(pools, func(a, b pool) int { return cmp.Compare(a.Pool.Addr().BitLen(), b.Pool.Addr().BitLen()) })
	return pools, nil
}

// generic returns the options that the user gave.
func generic(options map[string]any) (map[string]string, error) {
	given, _ := options[optGeneric].(map[string]any)
	out := map[string]string{}
	for key, v := range given {
		text, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("the option %s is not a text", clip(key))
		}
		out[key] = text
	}
	return out, nil
}

func truth(options map[string]any, key string) bool {
	v, _ := options[key].(bool)
	return v
}
