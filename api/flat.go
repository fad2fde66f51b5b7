package api

import (
	"encoding/json"
	"net/http"
	"net/netip"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// FlatSettings returns the fields that Docker's NetworkSettings had beside
// Networks before version 1.52 of its API, by their names: those of the default
// network, empty when the container is not on it.
func FlatSettings(s *container.NetworkSettings) map[string]any {
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
	return map[string]any{
		"Bridge": "", "HairpinMode": false,
		"LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
		"SecondaryIPAddresses": nil, "SecondaryIPv6Addresses": nil,
		"EndpointID": e.EndpointID, "MacAddress": e.MacAddress.String(),
		"IPAddress": text(e.IPAddress), "IPPrefixLen": e.IPPrefixLen, "Gateway": text(e.Gateway),
		"GlobalIPv6Address": text(e.GlobalIPv6Address), "GlobalIPv6PrefixLen": e.GlobalIPv6PrefixLen, "IPv6Gateway": text(e.IPv6Gateway),
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
	for name, value := range FlatSettings(c.NetworkSettings) {
		settings[name] = value
	}
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
