package world

import (
	"fmt"
	"net/netip"
	"sort"
)

// Place is a machine of the world: where a command runs.
type Place string

// The machines of a world, and the host's second face.
const (
	Host     Place = "host"     // the user's machine: uid 1000, no capability
	Client   Place = "client"   // a remote machine on the host's other network
	Internet Place = "internet" // everything behind the default route
	Admin    Place = "admin"    // the host again, for its administrator: with the world's capabilities

	// Only with Options.Routers.
	Hop Place = "hop" // the second router
	Far Place = "far" // a machine behind it
)

// UID is the only user (and group) id that exists in a world.
const UID = 1000

// Addresses of the world, by the names that scripts use for them. All are from the blocks reserved for documentation.
var addresses = map[string]string{
	"CLIENT4": "192.0.2.2", "CLIENT6": "2001:db8:1::2", // the remote client
	"HOST4": "192.0.2.1", "HOST6": "2001:db8:1::1", // the host, on the client's side
	"UPLINK4": "203.0.113.2", "UPLINK6": "2001:db8:2::2", // the host, on the internet's side
	"ROUTER4": "203.0.113.1", "ROUTER6": "2001:db8:2::1", // the internet's router
	"WEB4": "198.51.100.10", "WEB6": "2001:db8:100::10", // HTTP, TCP and UDP servers; everything else refuses
	"DNS4": "198.51.100.53", "DNS6": "2001:db8:100::53", // name server that calls itself "first"
	"OTHERDNS4": "198.51.100.54", "OTHERDNS6": "2001:db8:100::54", // the same zone, calls itself "second"
	"HOLE4": "198.51.100.66", "HOLE6": "2001:db8:100::66", // drops whatever it is sent
	"UNREACHABLE4": "198.51.100.77", "UNREACHABLE6": "2001:db8:100::77", // answered with ICMP host unreachable
	"PROHIBITED4": "198.51.100.88", "PROHIBITED6": "2001:db8:100::88", // answered with ICMP prohibited
	"HOP4": "198.51.100.130", "HOP6": "2001:db8:101::2", // with Options.Routers: the second router
	"FAR4": "198.51.100.200", "FAR6": "2001:db8:200::10", // the machine behind it
	"METADATA4": "169.254.169.254", // a cloud's metadata service, as the host reaches it
}

// Addr returns the address of the world with that name, such as "WEB4". An unknown name panics.
func Addr(name string) netip.Addr {
	text, ok := addresses[name]
	if !ok {
		panic(fmt.Sprintf("world: there is no address named %q", name))
	}
	return netip.MustParseAddr(text)
}

// AddressVariables returns NAME=address for every address of the world, sorted.
func AddressVariables() []string {
	var list []string
	for name, address := range addresses {
		list = append(list, name+"="+address)
	}
	sort.Strings(list)
	return list
}

// Links, addresses and routes of each machine, in the language of `ip -batch`.
const (
	hostLinks = `
link set lo up
link add uplink type veth peer name uplink0 netns internet
link add lan type veth peer name lan0 netns client
link set uplink up
link set lan up
addr add 203.0.113.2/24 dev uplink
addr add 2001:db8:2::2/64 dev uplink nodad
addr add 192.0.2.1/24 dev lan
addr add 2001:db8:1::1/64 dev lan nodad
`
	clientLinks = `
link set lo up
link set lan0 up
addr add 192.0.2.2/24 dev lan0
addr add 2001:db8:1::2/64 dev lan0 nodad
route add default via 192.0.2.1
route add default via 2001:db8:1::1
`
	internetLinks = `
link set lo up
link set uplink0 up
addr add 203.0.113.1/24 dev uplink0
addr add fe80::1/64 dev uplink0 nodad
addr add 2001:db8:2::1/64 dev uplink0 nodad
addr add 198.51.100.10/32 dev lo
addr add 2001:db8:100::10/128 dev lo nodad
addr add 198.51.100.53/32 dev lo
addr add 2001:db8:100::53/128 dev lo nodad
addr add 198.51.100.54/32 dev lo
addr add 2001:db8:100::54/128 dev lo nodad
addr add 169.254.169.254/32 dev lo
route add 192.0.2.0/24 via 203.0.113.2
route add 2001:db8:1::/64 via 2001:db8:2::2
route add blackhole 198.51.100.66/32
route add blackhole 2001:db8:100::66/128
route add unreachable 198.51.100.77/32
route add unreachable 2001:db8:100::77/128
route add prohibit 198.51.100.88/32
route add prohibit 2001:db8:100::88/128
`
	// The host's routes come last: the other ends of its links must be up.
	hostRoutes = `
route add default via 203.0.113.1
route add default via 2001:db8:2::1
route add 169.254.169.254/32 via 203.0.113.1
`
)
