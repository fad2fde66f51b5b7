package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// Filters selects objects of a list: term -> set of values. An object is
// selected when for every term one of the values fits. The zero value selects
// all. It has the shape of Docker's "filters" query parameter.
type Filters map[string]map[string]bool

// Add adds values to a term and returns f, which must not be nil.
func (f Filters) Add(term string, values ...string) Filters {
	if f[term] == nil {
		f[term] = make(map[string]bool)
	}
	for _, v := range values {
		f[term][v] = true
	}
	return f
}

// Has reports whether there is such a term.
func (f Filters) Has(term string) bool { return len(f[term]) > 0 }

// Values returns a term's values, sorted.
func (f Filters) Values(term string) []string {
	return slices.Sorted(maps.Keys(f[term]))
}

// Match reports whether the term is absent or one of its values fits.
func (f Filters) Match(term string, fits func(value string) bool) bool {
	if !f.Has(term) {
		return true
	}
	for v := range f[term] {
		if fits(v) {
			return true
		}
	}
	return false
}

// MatchLabels reports whether labels has every "key" or "key=value" of the term
// "label", and none of the term "label!".
func (f Filters) MatchLabels(labels map[string]string) bool {
	has := func(want string) bool {
		key, value, withValue := strings.Cut(want, "=")
		v, ok := labels[key]
		return ok && (!withValue || v == value)
	}
	for want := range f["label"] {
		if !has(want) {
			return false
		}
	}
	for unwanted := range f["label!"] {
		if has(unwanted) {
			return false
		}
	}
	return true
}

// Check returns an errdefs.ErrInvalidArgument that names the first term that is
// not among known.
func (f Filters) Check(known ...string) error {
	for _, term := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(known, term) {
			return Errorf(errdefs.ErrInvalidArgument, "invalid filter '%s': use one of %s", term, strings.Join(known, ", "))
		}
	}
	return nil
}

// parseFilters reads the query parameter in both of its shapes: Docker's
// {"term":{"value":true}} and the older {"term":["value"]}.
func parseFilters(s string) (Filters, error) {
	f := make(Filters)
	if s == "" {
		return f, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s), &raw); err != nil {
		return nil, Errorf(errdefs.ErrInvalidArgument, "invalid filter: %q is not a JSON object: %w", shorten(s), err)
	}
	for term, values := range raw {
		var set map[string]bool
		var list []string
		if json.Unmarshal(values, &set) == nil {
			f.Add(term, slices.Collect(maps.Keys(set))...)
		} else if err := json.Unmarshal(values, &list); err == nil {
			f.Add(term, list...)
		} else {
			return nil, Errorf(errdefs.ErrInvalidArgument, "invalid filter: the values of '%s' are neither an object nor a list of strings: %w", shorten(term), err)
		}
	}
	return f, nil
}

// query adds the filters to q, which may be nil.
func (f Filters) query(q url.Values) url.Values {
	if q == nil {
		q = url.Values{}
	}
	if len(f) > 0 {
		b, err := json.Marshal(f)
		if err != nil { // maps of strings and bools always marshal
			panic(fmt.Sprintf("api: filters: %v", err))
		}
		q.Set("filters", string(b))
	}
	return q
}

// shorten keeps hostile input out of error texts beyond a readable length.
func shorten(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
