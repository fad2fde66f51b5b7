package ocihook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Prefix begins the names of all annotations that are footbridge's.
const Prefix = "com.footbridge."

// Names of annotations that a runtime's user may set, after the prefix; each is the flag of
// `footbridge attach` or `footbridge run` of that name, and takes its values. A list has them
// with blanks between.
var (
	single = []string{"name", "hostname", "ip", "ip6", "mac-address", "publish-all"}
	lists  = []string{"network", "network-alias", "publish", "expose", "dns", "dns-search", "dns-option", "add-host"}
)

// label is the annotation of a label, whose name follows.
const label = "label."

// Option is one flag and its value.
type Option struct {
	Annotation  string // whole, for errors
	Name, Value string
}

// Options returns what the annotations ask for, in the order of their names. One with the
// prefix that is not known is an error: it may be what keeps a container from something.
func Options(annotations map[string]string) ([]Option, error) {
	var out []Option
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		name, ours := strings.CutPrefix(key, Prefix)
		if !ours {
			continue
		}
		value := strings.TrimSpace(annotations[key])
		lab, isLabel := strings.CutPrefix(name, label)
		switch {
		case isLabel && strings.HasPrefix(lab, Prefix):
			return nil, fmt.Errorf("annotation %s: labels that begin with %s are footbridge's own: choose another name", key, Prefix)
		case isLabel && lab != "":
			out = append(out, Option{key, "label", lab + "=" + annotations[key]})
		case value == "" && known(name):
			return nil, fmt.Errorf("annotation %s is empty: give it a value, or leave it out", key)
		case slices.Contains(single, name):
			out = append(out, Option{key, name, value})
		case slices.Contains(lists, name):
			for _, v := range strings.Fields(value) {
				out = append(out, Option{key, name, v})
			}
		default:
			return nil, fmt.Errorf("annotation %s is not known: after %s there may be %s, or label.NAME", key, Prefix, strings.Join(Names(), ", "))
		}
	}
	return out, nil
}

func known(name string) bool { return slices.Contains(single, name) || slices.Contains(lists, name) }

// Names are all that may stand after the prefix but for labels, sorted.
func Names() []string { return slices.Sorted(slices.Values(slices.Concat(single, lists))) }
