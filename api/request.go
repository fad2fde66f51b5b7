package api

import (
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types"
)

var errBodyTooLarge = errors.New("request body too large")

// readJSON decodes the body into out. Like Docker it ignores fields it does not
// know, and takes one value and nothing after it.
func readJSON(w http.ResponseWriter, r *http.Request, out any) error {
	if err := checkContentType(r); err != nil {
		return err
	}
	// A deadline on the whole connection would end streams, and requests that
	// take long; it is set while the body is read only. A test's recorder has
	// none, and that is no error.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()

	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	err := d.Decode(out)
	if err == nil {
		// Reading on also finds a body that is too large by its garbage.
		if _, err = d.Token(); err == io.EOF {
			return nil
		}
		if !errors.As(err, new(*http.MaxBytesError)) {
			return Errorf(errdefs.ErrInvalidArgument, "unexpected content after JSON")
		}
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return Errorf(errBodyTooLarge, "the request's body is larger than %d bytes", tooLarge.Limit)
	case errors.Is(err, io.EOF):
		return Errorf(errdefs.ErrInvalidArgument, "invalid JSON: got EOF while reading request body")
	default:
		return Errorf(errdefs.ErrInvalidArgument, "invalid JSON: %w", err)
	}
}

// checkContentType refuses bodies that do not say that they are JSON: a form
// that somebody's browser was tricked into sending is not.
func checkContentType(r *http.Request) error {
	ct := r.Header.Get("Content-Type")
	if ct == "" && r.ContentLength == 0 {
		return nil
	}
	mt, _, err := mime.ParseMediaType(ct)
	if err != nil {
		return Errorf(errdefs.ErrInvalidArgument, "malformed Content-Type header (%s): must be 'application/json'", printable(ct))
	}
	if mt != types.MediaTypeJSON {
		return Errorf(errdefs.ErrInvalidArgument, "unsupported Content-Type header (%s): must be 'application/json'", printable(ct))
	}
	return nil
}

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return Errorf(errdefs.ErrInternal, "encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", types.MediaTypeJSON)
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // an error is the client's going away
	return nil
}

// writeStatus answers with a status alone what was done without an error.
func writeStatus(w http.ResponseWriter, status int, err error) error {
	if err == nil {
		w.WriteHeader(status)
	}
	return err
}

// orEmpty makes a missing list an empty one: Docker never sends null for those.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// params are a request's query parameters.
type params struct{ url.Values }

func queryOf(r *http.Request) (params, error) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return params{}, Errorf(errdefs.ErrInvalidArgument, "invalid query: %w", err)
	}
	return params{v}, nil
}

// boolean is Docker's: everything but these words is true.
func (p params) boolean(key string) bool {
	switch strings.ToLower(strings.TrimSpace(p.Get(key))) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

// integer returns nil when the parameter is absent.
func (p params) integer(key string) (*int, error) {
	s := p.Get(key)
	if s == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return nil, Errorf(errdefs.ErrInvalidArgument, "invalid value for %q: %q is not a number", key, printable(s))
	}
	return &n, nil
}

// filtersOf returns the filters of the query.
func filtersOf(r *http.Request) (Filters, error) {
	q, err := queryOf(r)
	if err != nil {
		return nil, err
	}
	return q.filters()
}

func (p params) filters() (Filters, error) { return parseFilters(p.Get("filters")) }

// time reads seconds since 1970, with or without a fraction of up to nine
// digits. Absent and 0 mean no bound.
func (p params) time(key string) (time.Time, error) {
	s := p.Get(key)
	if s == "" || s == "0" {
		return time.Time{}, nil
	}
	bad := func() (time.Time, error) {
		return time.Time{}, Errorf(errdefs.ErrInvalidArgument, "invalid value for %q: %q is not a number of seconds since 1970", key, printable(s))
	}
	// 20 digits hold every int64; more would be work for nothing.
	if len(s) > 32 || strings.Trim(s, "0123456789.-") != "" {
		return bad()
	}
	nanos, ok := new(big.Rat).SetString(s)
	if !ok {
		return bad()
	}
	nanos.Mul(nanos, big.NewRat(int64(time.Second), 1))
	whole := new(big.Int).Quo(nanos.Num(), nanos.Denom())
	if !whole.IsInt64() {
		return bad()
	}
	return time.Unix(0, whole.Int64()), nil
}

// size reads h and w, which must both be there.
func (p params) size() (TTYSize, error) {
	h, err1 := strconv.ParseUint(p.Get("h"), 10, 16)
	w, err2 := strconv.ParseUint(p.Get("w"), 10, 16)
	if err := errors.Join(err1, err2); err != nil {
		return TTYSize{}, Errorf(errdefs.ErrInvalidArgument, "invalid terminal size: h=%q and w=%q must be numbers up to 65535", printable(p.Get("h")), printable(p.Get("w")))
	}
	return TTYSize{Height: uint16(h), Width: uint16(w)}, nil
}
