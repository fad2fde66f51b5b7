package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// containerAnd returns the container's name in the path, and the query.
func containerAnd(r *http.Request) (string, params, error) {
	name, err := lookupName("container", r.PathValue("name"))
	if err != nil {
		return "", params{}, err
	}
	q, err := queryOf(r)
	return name, q, err
}

func (s *Server) containerList(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	o := ListOptions{All: q.boolean("all")}
	limit, err := q.integer("limit")
	if err != nil {
		return err
	}
	if limit != nil {
		o.Limit = max(*limit, 0)
	}
	if o.Filters, err = q.filters(); err != nil {
		return err
	}
	list, err := s.backend.ContainerList(r.Context(), o)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, orEmpty(list))
}

func (s *Server) containerInspect(w http.ResponseWriter, r *http.Request) error {
	name, _, err := containerAnd(r)
	if err != nil {
		return err
	}
	c, err := s.backend.ContainerInspect(r.Context(), name)
	if err != nil {
		return err
	}
	detail, err := s.backend.ContainerDetail(r.Context(), c.ID)
	if err != nil {
		return err // removed in between
	}
	whole := ContainerInspect{InspectResponse: c, Footbridge: detail}
	if requestVersion(r).less(versionNoFlatSettings) {
		return writeFlat(w, whole)
	}
	return writeJSON(w, http.StatusOK, whole)
}

func (s *Server) containerCreate(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(q.Get("name"), "/")
	if name != "" {
		if err := checkNewName("container", name); err != nil {
			return err
		}
	}
	var req container.CreateRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if req.Config == nil {
		return Errorf(errdefs.ErrInvalidArgument, "config cannot be empty in order to create a container")
	}
	if req.HostConfig == nil {
		req.HostConfig = &container.HostConfig{}
	}
	if req.NetworkingConfig == nil {
		req.NetworkingConfig = &network.NetworkingConfig{}
	}
	res, err := s.backend.ContainerCreate(r.Context(), name, req)
	if err != nil {
		return err
	}
	res.Warnings = orEmpty(res.Warnings)
	return writeJSON(w, http.StatusCreated, res)
}

func (s *Server) containerStart(w http.ResponseWriter, r *http.Request) error {
	name, _, err := containerAnd(r)
	if err != nil {
		return err
	}
	return writeStatus(w, http.StatusNoContent, s.backend.ContainerStart(r.Context(), name))
}

func (s *Server) containerStop(w http.ResponseWriter, r *http.Request) error {
	return stopWith(w, r, s.backend.ContainerStop)
}

func (s *Server) containerRestart(w http.ResponseWriter, r *http.Request) error {
	return stopWith(w, r, s.backend.ContainerRestart)
}

// stopWith serves what ends a container's process.
func stopWith(w http.ResponseWriter, r *http.Request, stop func(context.Context, string, StopOptions) error) error {
	name, q, err := containerAnd(r)
	if err != nil {
		return err
	}
	o := StopOptions{Signal: q.Get("signal")}
	if o.Timeout, err = q.integer("t"); err != nil {
		return err
	}
	return writeStatus(w, http.StatusNoContent, stop(r.Context(), name, o))
}

func (s *Server) containerRename(w http.ResponseWriter, r *http.Request) error {
	name, q, err := containerAnd(r)
	if err != nil {
		return err
	}
	wish := strings.TrimPrefix(q.Get("name"), "/")
	if err := checkNewName("container", wish); err != nil {
		return err
	}
	return writeStatus(w, http.StatusNoContent, s.backend.ContainerRename(r.Context(), name, wish))
}

func (s *Server) containerTop(w http.ResponseWriter, r *http.Request) error {
	name, q, err := containerAnd(r)
	if err != nil {
		return err
	}
	top, err := s.backend.ContainerTop(r.Context(), name, q.Get("ps_args"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, top)
}

func (s *Server) containersPrune(w http.ResponseWriter, r *http.Request) error {
	filters, err := filtersOf(r)
	if err != nil {
		return err
	}
	report, err := s.backend.ContainersPrune(r.Context(), filters)
	if err != nil {
		return err
	}
	report.ContainersDeleted = orEmpty(report.ContainersDeleted)
	return writeJSON(w, http.StatusOK, report)
}

func (s *Server) containerKill(w http.ResponseWriter, r *http.Request) error {
	name, q, err := containerAnd(r)
	if err != nil {
		return err
	}
	return writeStatus(w, http.StatusNoContent, s.backend.ContainerKill(r.Context(), name, q.Get("signal")))
}

func (s *Server) containerRemove(w http.ResponseWriter, r *http.Request) error {
	name, q, err := containerAnd(r)
	if err != nil {
		return err
	}
	if q.boolean("link") {
		return Errorf(errdefs.ErrNotImplemented, "removing a link is not supported by footbridge: remove the container")
	}
	return writeStatus(w, http.StatusNoContent, s.backend.ContainerRemove(r.Context(), name, RemoveOptions{Force: q.boolean("force"), RemoveVolumes: q.boolean("v")}))
}

// containerWait sends its header as soon as the wait is registered, so that a
// client may start the container then and miss nothing.
func (s *Server) containerWait(w http.ResponseWriter, r *http.Request) error {
	name, q, err := containerAnd(r)
	if err != nil {
		return err
	}
	condition := container.WaitCondition(q.Get("condition"))
	switch condition {
	case "":
		condition = container.WaitConditionNotRunning
	case container.WaitConditionNotRunning, container.WaitConditionNextExit, container.WaitConditionRemoved:
	default:
		return Errorf(errdefs.ErrInvalidArgument, "invalid condition: %q: use %s, %s or %s", printable(string(condition)),
			container.WaitConditionNotRunning, container.WaitConditionNextExit, container.WaitConditionRemoved)
	}
	ctx, cancel := s.streamContext(r)
	defer cancel()
	result, err := s.backend.ContainerWait(ctx, name, condition)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", types.MediaTypeJSON)
	w.WriteHeader(http.StatusOK)
	if http.NewResponseController(w).Flush() != nil {
		return nil // the client is gone
	}
	select {
	case res, ok := <-result:
		if ok {
			_ = json.NewEncoder(w).Encode(res)
		}
	case <-ctx.Done():
	}
	return nil
}

func (s *Server) containerResize(w http.ResponseWriter, r *http.Request) error {
	name, q, err := containerAnd(r)
	if err != nil {
		return err
	}
	size, err := q.size()
	if err != nil {
		return err
	}
	return writeStatus(w, http.StatusOK, s.backend.ContainerResize(r.Context(), name, size))
}

func (s *Server) containerAttach(w http.ResponseWriter, r *http.Request) error {
	name, q, err := containerAnd(r)
	if err != nil {
		return err
	}
	o := AttachOptions{
		Stdin:      q.boolean("stdin"),
		Stdout:     q.boolean("stdout"),
		Stderr:     q.boolean("stderr"),
		Logs:       q.boolean("logs"),
		Stream:     q.boolean("stream"),
		DetachKeys: q.Get("detachKeys"),
	}
	keys, err := ParseDetachKeys(o.DetachKeys)
	if err != nil {
		return err
	}
	// What follows the header on this connection is the process's input.
	if r.ContentLength != 0 {
		return Errorf(errdefs.ErrInvalidArgument, "attach takes no body: input is sent after the answer")
	}
	return s.hijack(w, r, keys, func(r *http.Request) (*Stream, error) {
		return s.backend.ContainerAttach(r.Context(), name, o)
	})
}
