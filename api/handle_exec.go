package api

import (
	"net/http"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

func (s *Server) execCreate(w http.ResponseWriter, r *http.Request) error {
	name, _, err := containerAnd(r)
	if err != nil {
		return err
	}
	var req container.ExecCreateRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if len(req.Cmd) == 0 {
		return Errorf(errdefs.ErrInvalidArgument, "No exec command specified")
	}
	if _, err := ParseDetachKeys(req.DetachKeys); err != nil {
		return err
	}
	res, err := s.backend.ExecCreate(r.Context(), name, req)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, res)
}

func (s *Server) execStart(w http.ResponseWriter, r *http.Request) error {
	id, err := lookupName("exec", r.PathValue("id"))
	if err != nil {
		return err
	}
	var req container.ExecStartRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if req.Detach {
		if _, err := s.backend.ExecStart(r.Context(), id, req); err != nil {
			return err
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}
	// The keys were said when the exec was made, and are kept with it.
	inspect, err := s.backend.ExecInspect(r.Context(), id)
	if err != nil {
		return err
	}
	keys := inspect.DetachKeys
	if len(keys) == 0 {
		keys = defaultDetachKeys
	}
	return s.hijack(w, r, keys, func(r *http.Request) (*Stream, error) {
		stream, err := s.backend.ExecStart(r.Context(), id, req)
		if err == nil || errdefs.IsNotFound(err) || r.Header.Get(startErrorsHeader) != "" {
			return stream, err
		}
		tty := inspect.ProcessConfig != nil && inspect.ProcessConfig.Tty
		return errorStream(err, tty), nil
	})
}

// startErrorsHeader, with any value, asks for the error of an exec that could
// not be started as an answer of HTTP.
const startErrorsHeader = "Footbridge-Start-Errors"

// errorStream is the output of an exec that could not be started. Docker has
// switched protocols when it learns of that; its clients expect the error among
// the output, and the exit code where they ask for it next.
func errorStream(err error, tty bool) *Stream {
	if tty {
		return &Stream{TTY: true, Stdout: strings.NewReader(err.Error() + "\r\n")}
	}
	return &Stream{Stderr: strings.NewReader(err.Error() + "\n")}
}

func (s *Server) execInspect(w http.ResponseWriter, r *http.Request) error {
	id, err := lookupName("exec", r.PathValue("id"))
	if err != nil {
		return err
	}
	e, err := s.backend.ExecInspect(r.Context(), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, e)
}

func (s *Server) execResize(w http.ResponseWriter, r *http.Request) error {
	id, err := lookupName("exec", r.PathValue("id"))
	if err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	size, err := q.size()
	if err != nil {
		return err
	}
	return writeStatus(w, http.StatusOK, s.backend.ExecResize(r.Context(), id, size))
}
