package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// FlatNetworkSettings are the fields that Docker's NetworkSettings had beside
// Networks before version 1.52 of its API.
type FlatNetworkSettings struct {
	Bridge                 string
	HairpinMode            bool
	LinkLocalIPv6Address   string
	LinkLocalIPv6PrefixLen int
	SecondaryIPAddresses   []string
	SecondaryIPv6Addresses []string
	EndpointID             string
	Gateway                string
	GlobalIPv6Address      string
	GlobalIPv6PrefixLen    int
	IPAddress              string
	IPPrefixLen            int
	IPv6Gateway            string
	MacAddress             string
}

// FlatSettings returns those of the default network, empty when the container is
// not on it.
func FlatSettings(s *container.NetworkSettings) FlatNetworkSettings {
	e := s.Networks[network.NetworkBridge]
	if e == nil {
		e = &network.EndpointSettings{}
	}
	text := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	return FlatNetworkSettings{
		EndpointID: e.EndpointID, MacAddress: e.MacAddress.String(),
		IPAddress: text(e.IPAddress), IPPrefixLen: e.IPPrefixLen, Gateway: text(e.Gateway),
		GlobalIPv6Address: text(e.GlobalIPv6Address), GlobalIPv6PrefixLen: e.GlobalIPv6PrefixLen, IPv6Gateway: text(e.IPv6Gateway),
	}
}

// writeFlat answers with a container and its FlatSettings.
func writeFlat(w http.ResponseWriter, c ContainerInspect) error {
	if c.NetworkSettings == nil {
		return writeJSON(w, http.StatusOK, c)
	}
	whole, err := fieldsOf(c)
	if err != nil {
		return err
	}
	settings, err := fieldsOf(c.NetworkSettings)
	if err != nil {
		return err
	}
	flat, err := fieldsOf(FlatSettings(c.NetworkSettings))
	if err != nil {
		return err
	}
	maps.Copy(settings, flat)
	whole["NetworkSettings"] = settings
	return writeJSON(w, http.StatusOK, whole)
}

// fieldsOf returns the fields of a struct's JSON, as they are written.
func fieldsOf(v any) (map[string]any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, Errorf(errdefs.ErrInternal, "encode the answer: %w", err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, Errorf(errdefs.ErrInternal, "encode the answer: %w", err)
	}
	fields := make(map[string]any, len(raw))
	for name, value := range raw {
		fields[name] = value
	}
	return fields, nil
}
