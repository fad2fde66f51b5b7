package api

import (
	"net/http"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
)

func (s *Server) networkList(w http.ResponseWriter, r *http.Request) error {
	filters, err := filtersOf(r)
	if err != nil {
		return err
	}
	list, err := s.backend.NetworkList(r.Context(), filters)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, orEmpty(list))
}

func (s *Server) networkInspect(w http.ResponseWriter, r *http.Request) error {
	name, err := lookupName("network", r.PathValue("name"))
	if err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	verbose := false
	if v := q.Get("verbose"); v != "" {
		if verbose, err = strconv.ParseBool(v); err != nil {
			return Errorf(errdefs.ErrInvalidArgument, "invalid value for verbose: %s: it is true or false", shorten(v))
		}
	}
	nw, err := s.backend.NetworkInspect(r.Context(), name, NetworkInspectOptions{Verbose: verbose, Scope: q.Get("scope")})
	if err != nil {
		return err
	}
	if requestVersion(r).less(versionNetworkStatus) {
		nw.Status = nil
	}
	return writeJSON(w, http.StatusOK, nw)
}

func (s *Server) networkCreate(w http.ResponseWriter, r *http.Request) error {
	var req network.CreateRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if err := checkNewName("network", req.Name); err != nil {
		return err
	}
	if requestVersion(r).less(versionEnableIPv4) {
		req.EnableIPv4 = nil
	}
	res, err := s.backend.NetworkCreate(r.Context(), req)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, res)
}

func (s *Server) networkRemove(w http.ResponseWriter, r *http.Request) error {
	name, err := lookupName("network", r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeStatus(w, http.StatusNoContent, s.backend.NetworkRemove(r.Context(), name))
}

func (s *Server) networksPrune(w http.ResponseWriter, r *http.Request) error {
	filters, err := filtersOf(r)
	if err != nil {
		return err
	}
	report, err := s.backend.NetworksPrune(r.Context(), filters)
	if err != nil {
		return err
	}
	report.NetworksDeleted = orEmpty(report.NetworksDeleted)
	return writeJSON(w, http.StatusOK, report)
}

func (s *Server) networkConnect(w http.ResponseWriter, r *http.Request) error {
	var req network.ConnectRequest
	name, err := s.networkAnd(w, r, &req, &req.Container)
	if err != nil {
		return err
	}
	return writeStatus(w, http.StatusOK, s.backend.NetworkConnect(r.Context(), name, req))
}

func (s *Server) networkDisconnect(w http.ResponseWriter, r *http.Request) error {
	var req network.DisconnectRequest
	name, err := s.networkAnd(w, r, &req, &req.Container)
	if err != nil {
		return err
	}
	return writeStatus(w, http.StatusOK, s.backend.NetworkDisconnect(r.Context(), name, req))
}

// networkAnd returns the network's name in the path, and reads the body, which has a container's name in it.
func (s *Server) networkAnd(w http.ResponseWriter, r *http.Request, body any, inBody *string) (string, error) {
	name, err := lookupName("network", r.PathValue("name"))
	if err != nil {
		return "", err
	}
	if err := readJSON(w, r, body); err != nil {
		return "", err
	}
	if *inBody, err = lookupName("container", *inBody); err != nil {
		return "", err
	}
	*inBody, err = s.checkPassed(r, *inBody)
	return name, err
}
