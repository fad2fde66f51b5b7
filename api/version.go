package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// The versions of Docker's API that the server speaks: MaxVersion is that of the
// types of github.com/moby/moby/api which it uses. A path may begin with any
// between them; without a version it means the highest.
const (
	MinVersion = "1.24"
	MaxVersion = "1.56"
)

// ownPrefix begins the paths of what Docker has no word for. They carry a
// version of their own and need none of Docker's.
const ownPrefix = "/footbridge/v1"

// serverName is the product in the headers Server and User-Agent.
const serverName = "footbridge"

// apiVersion is a version of the API: major and minor.
type apiVersion struct{ major, minor int }

// The versions at which answers differ.
var (
	minVersion         = mustVersion(MinVersion)
	maxVersion         = mustVersion(MaxVersion)
	versionMultiplexed = apiVersion{1, 42} // content type of multiplexed streams
	// From here on the settings of the default network are not repeated, see FlatSettings.
	versionNoFlatSettings = apiVersion{1, 52}
	versionNetworkStatus  = apiVersion{1, 52} // the use of a network's addresses
	versionEnableIPv4     = apiVersion{1, 48} // a network may be without IPv4
)

// errTooOld: clients of such versions take an error's body for text, and not for JSON.
var errTooOld = Errorf(errdefs.ErrInvalidArgument, "too old")

func (v apiVersion) less(w apiVersion) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

// parseVersion reads "1.44". Each part has one to four digits.
func parseVersion(s string) (apiVersion, bool) {
	major, minor, ok := strings.Cut(s, ".")
	a, ok1 := versionPart(major)
	b, ok2 := versionPart(minor)
	return apiVersion{a, b}, ok && ok1 && ok2
}

func versionPart(s string) (int, bool) {
	if len(s) == 0 || len(s) > 4 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

func mustVersion(s string) apiVersion {
	v, ok := parseVersion(s)
	if !ok {
		panic("api: version " + s)
	}
	return v
}

// negotiate takes the version off a request's path. ok is false when the path
// begins like a version and is none.
func negotiate(r *http.Request) (v apiVersion, stripped *http.Request, err error) {
	rest, found := strings.CutPrefix(r.URL.Path, "/v")
	number, _, slash := strings.Cut(rest, "/")
	if !found || !slash || number == "" || number[0] < '0' || number[0] > '9' {
		return maxVersion, r, nil
	}
	v, ok := parseVersion(number)
	switch {
	case !ok:
		return v, nil, errPageNotFound
	case v.less(minVersion):
		return v, nil, Errorf(errTooOld, "client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", number, MinVersion)
	case maxVersion.less(v):
		return v, nil, Errorf(errdefs.ErrInvalidArgument, "client version %s is too new. Maximum supported API version is %s", number, MaxVersion)
	}
	prefix := "/v" + number
	u := *r.URL
	u.Path = strings.TrimPrefix(u.Path, prefix)
	// The escaped form is kept beside the plain one only where they differ.
	if u.RawPath != "" {
		raw, ok := strings.CutPrefix(u.RawPath, prefix)
		if !ok {
			return v, nil, errPageNotFound
		}
		u.RawPath = raw
	}
	r2 := r.WithContext(r.Context())
	r2.URL = &u
	return v, r2, nil
}
