package netavark

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// APIVersion is that of netavark's plugin API, as info tells it.
const APIVersion = "1.0.0"

// maxInput bounds in bytes what is read: podman's JSON of a container on a hundred
// networks is a tenth of it.
const maxInput = 4 << 20

// ErrInput is in the chain of errors about JSON that is not what was expected.
var ErrInput = errors.New("invalid JSON")

// Subnet is one subnet of a network.
type Subnet struct {
	Subnet     netip.Prefix    `json:"subnet"`
	Gateway    netip.Addr      `json:"gateway,omitzero"`
	LeaseRange json.RawMessage `json:"lease_range,omitempty"` // podman's to keep
}

// Network is podman's definition of a network. Of fields that are not here MarshalJSON
// returns what UnmarshalJSON got.
type Network struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Driver     string            `json:"driver"`
	Interface  string            `json:"network_interface,omitempty"`
	Subnets    []Subnet          `json:"subnets,omitempty"`
	Routes     []json.RawMessage `json:"routes,omitempty"`
	IPv6       bool              `json:"ipv6_enabled"`
	Internal   bool              `json:"internal"`
	DNS        bool              `json:"dns_enabled"`
	DNSServers []netip.Addr      `json:"network_dns_servers,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Options    map[string]string `json:"options,omitempty"`
	IPAM       map[string]string `json:"ipam_options,omitempty"`

	others map[string]json.RawMessage
}

// networkFields is Network without its methods.
type networkFields Network

// UnmarshalJSON implements json.Unmarshaler.
func (n *Network) UnmarshalJSON(b []byte) error {
	*n = Network{}
	if err := json.Unmarshal(b, (*networkFields)(n)); err != nil {
		return err
	}
	return json.Unmarshal(b, &n.others)
}

// MarshalJSON implements json.Marshaler.
func (n Network) MarshalJSON() ([]byte, error) {
	ours, err := json.Marshal(networkFields(n))
	if err != nil || len(n.others) == 0 {
		return ours, err
	}
	all := make(map[string]json.RawMessage, len(n.others))
	for key, value := range n.others {
		all[key] = value
	}
	if err := json.Unmarshal(ours, &all); err != nil { // into the map that is there
		return nil, err
	}
	return json.Marshal(all)
}

// PortMapping are Range ports of the host, from HostPort on, that lead to as many of the
// container's.
type PortMapping struct {
	HostIP        string `json:"host_ip"` // "" is all addresses
	HostPort      uint16 `json:"host_port"`
	ContainerPort uint16 `json:"container_port"`
	Range         uint16 `json:"range"`    // 0 is 1
	Protocol      string `json:"protocol"` // several with ',' between them; "" is tcp
}

// EndpointOptions are a container's on one network.
type EndpointOptions struct {
	Aliases   []string          `json:"aliases"`
	Interface string            `json:"interface_name"`
	StaticIPs []netip.Addr      `json:"static_ips"`
	StaticMAC string            `json:"static_mac"`
	Options   map[string]string `json:"options"`
}

// Exec is what setup and teardown are given: one container on one network.
type Exec struct {
	ContainerID   string          `json:"container_id"`
	ContainerName string          `json:"container_name"`
	Ports         []PortMapping   `json:"port_mappings"`
	Network       Network         `json:"network"`
	Options       EndpointOptions `json:"network_options"`
}

// Address is one of an interface.
type Address struct {
	IPNet   netip.Prefix `json:"ipnet"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
}

// Interface is one that was made in the container's namespace.
type Interface struct {
	MAC     string    `json:"mac_address"`
	Subnets []Address `json:"subnets"`
}

// StatusBlock is what setup answers.
type StatusBlock struct {
	Interfaces       map[string]Interface `json:"interfaces"`
	DNSServers       []netip.Addr         `json:"dns_server_ips"`
	DNSSearchDomains []string             `json:"dns_search_domains"`
}

// Info is what info answers.
type Info struct {
	Version    string `json:"version"`
	APIVersion string `json:"api_version"`
}

// Failure is what is answered instead of all else.
type Failure struct {
	Error string `json:"error"`
}

// ReadNetwork reads what create is given.
func ReadNetwork(r io.Reader) (Network, error) {
	n, err := read[Network](r)
	if err == nil {
		err = n.check()
	}
	return n, err
}

// ReadExec reads what setup and teardown are given.
func ReadExec(r io.Reader) (Exec, error) {
	e, err := read[Exec](r)
	if err == nil {
		err = e.Network.check()
	}
	switch {
	case err != nil:
	case e.ContainerID == "":
		err = fmt.Errorf("%w: container_id is missing", ErrInput)
	case e.ContainerName == "":
		err = fmt.Errorf("%w: container_name is missing", ErrInput)
	case e.Options.Interface == "":
		err = fmt.Errorf("%w: network_options.interface_name is missing", ErrInput)
	}
	return e, err
}

func (n *Network) check() error {
	switch {
	case n.Name == "":
		return fmt.Errorf("%w: the network's name is missing", ErrInput)
	case n.ID == "":
		return fmt.Errorf("%w: the network's id is missing", ErrInput)
	}
	return nil
}

// read decodes the one value that r holds.
func read[T any](r io.Reader) (T, error) {
	var out T
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	switch {
	case err != nil:
		return out, fmt.Errorf("read standard input: %w", err)
	case len(b) > maxInput:
		return out, fmt.Errorf("%w: more than %d MiB", ErrInput, maxInput>>20)
	case len(b) == 0:
		return out, fmt.Errorf("%w: standard input is empty: netavark and podman write it", ErrInput)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("%w: %w", ErrInput, err)
	}
	return out, nil
}
