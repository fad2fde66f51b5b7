package libnetwork

import "net/netip"

// The protocol's paths begin with these.
const (
	activatePath = "/Plugin.Activate"
	driverPath   = "/NetworkDriver."
)

// Keys of the options that dockerd passes.
const (
	optGeneric  = "com.docker.network.generic" // what the user gave with -o
	optInternal = "com.docker.network.internal"
	optPortMap  = "com.docker.network.portmap"
)

type activateResponse struct{ Implements []string }

type capabilities struct{ Scope, ConnectivityScope string }

// pool is one subnet of a network, as Docker's address management gives it.
type pool struct {
	AddressSpace string
	Pool         netip.Prefix
	Gateway      netip.Prefix `json:",omitzero"` // with the subnet's length
	AuxAddresses map[string]netip.Prefix
}

type createNetwork struct {
	NetworkID          string
	Options            map[string]any
	IPv4Data, IPv6Data []pool
}

// endpointID names an endpoint, or a network alone.
type endpointID struct{ NetworkID, EndpointID string }

// endpointInterface is what an interface is to have. Docker takes no answer that repeats it.
type endpointInterface struct {
	Address     string `json:",omitempty"` // with the subnet's length
	AddressIPv6 string `json:",omitempty"`
	MacAddress  string `json:",omitempty"`
}

type createEndpoint struct {
	endpointID
	Interface *endpointInterface
	Options   map[string]any
}

type createdEndpoint struct{ Interface endpointInterface }

type endpointInfo struct{ Value map[string]string }

type join struct {
	endpointID
	SandboxKey string
	Options    map[string]any
}

type interfaceName struct{ SrcName, DstPrefix string }

type joined struct {
	InterfaceName         interfaceName
	Gateway               string `json:",omitempty"`
	GatewayIPv6           string `json:",omitempty"`
	DisableGatewayService bool   `json:",omitempty"`
}

type externalConnectivity struct {
	endpointID
	Options map[string]any
}

// portBinding is a published port in optPortMap.
type portBinding struct {
	Proto                 uint8 // an IP protocol's number
	IP                    string
	Port                  uint16
	HostIP                string
	HostPort, HostPortEnd uint16
}

type errorResponse struct{ Err string }
