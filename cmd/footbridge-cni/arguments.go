package main

import (
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// arguments are CNI_ARGS: KEY=VALUE;KEY=VALUE.
type arguments struct {
	pod  string // K8S_POD_NAME, a name by which the others know the container
	caps capabilities
}

// readArguments reads CNI_ARGS. Keys that it does not know are an error, unless
// IgnoreUnknown is true, which most runtimes say.
func readArguments(text string) (arguments, error) {
	var a arguments
	fail := func(format string, args ...any) (arguments, error) {
		return arguments{}, types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_ARGS: "+fmt.Sprintf(format, args...), "")
	}
	var unknown []string
	ignore := false
	for pair := range strings.SplitSeq(text, ";") {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case pair == "":
			continue
		case !ok || key == "":
			return fail("%q is not KEY=VALUE", pair)
		}
		var err error
		switch key {
		case "IgnoreUnknown":
			switch strings.ToLower(value) {
			case "1", "true":
				ignore = true
			case "0", "false":
			default:
				return fail("IgnoreUnknown=%q: it is 1 or 0", value)
			}
		case "IP":
			for one := range strings.SplitSeq(value, ",") {
				addr, _, _ := strings.Cut(one, "/")
				if one != "" {
					err = a.caps.takeIP(addr)
				}
				if err != nil {
					break
				}
			}
		case "MAC":
			if value != "" {
				err = a.caps.takeMAC(value)
			}
		case "K8S_POD_NAME":
			a.pod = value
		case "K8S_POD_NAMESPACE", "K8S_POD_UID", "K8S_POD_INFRA_CONTAINER_ID": // who it is, to others
		default:
			unknown = append(unknown, key)
		}
		if err != nil {
			return fail("%s: %v", key, err)
		}
	}
	if len(unknown) > 0 && !ignore {
		return fail("unknown keys %s: known are IgnoreUnknown, IP, MAC and K8S_POD_NAME", strings.Join(unknown, ", "))
	}
	return a, nil
}
