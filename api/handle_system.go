package api

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/moby/moby/api/types"

	"github.com/footbridge-net/footbridge/internal/buildinfo"
)

func (s *Server) ping(w http.ResponseWriter, r *http.Request) error {
	if err := s.backend.Ping(r.Context()); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Swarm", "inactive")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("OK"))
	return nil
}

func (s *Server) version(w http.ResponseWriter, r *http.Request) error {
	v, err := s.backend.Version(r.Context())
	if err != nil {
		return err
	}
	build := buildinfo.Get()
	for field, value := range map[*string]string{
		&v.Version:       build.Version,
		&v.GitCommit:     build.Commit,
		&v.GoVersion:     build.GoVersion,
		&v.BuildTime:     build.Time,
		&v.APIVersion:    MaxVersion,
		&v.MinAPIVersion: MinVersion,
		&v.Os:            runtime.GOOS,
		&v.Arch:          runtime.GOARCH,
	} {
		if *field == "" {
			*field = value
		}
	}
	return writeJSON(w, http.StatusOK, v)
}

func (s *Server) info(w http.ResponseWriter, r *http.Request) error {
	info, err := s.backend.Info(r.Context())
	if err != nil {
		return err
	}
	for field, value := range map[*string]string{
		&info.ServerVersion: buildinfo.Get().Version,
		&info.OSType:        runtime.GOOS,
		&info.Architecture:  runtime.GOARCH,
		&info.SystemTime:    time.Now().Format(time.RFC3339Nano),
	} {
		if *field == "" {
			*field = value
		}
	}
	return writeJSON(w, http.StatusOK, info)
}

// events streams events, one JSON object a line. The header goes out when the
// subscription stands.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	var o EventsOptions
	if o.Since, err = q.time("since"); err != nil {
		return err
	}
	if o.Until, err = q.time("until"); err != nil {
		return err
	}
	if o.Filters, err = q.filters(); err != nil {
		return err
	}
	ctx, cancel := s.streamContext(r)
	defer cancel()
	events, err := s.backend.Events(ctx, o)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", lineMediaType(r))
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	if err := rc.Flush(); err != nil {
		return nil // the client is gone
	}
	encoder := json.NewEncoder(w)
	for {
		select {
		case m, ok := <-events:
			if !ok {
				return nil
			}
			if encoder.Encode(m) != nil || rc.Flush() != nil {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// lineMediaType names the format of a stream of JSON lines as the client knows it.
func lineMediaType(r *http.Request) string {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	for _, t := range []string{types.MediaTypeJSONLines, types.MediaTypeNDJSON} {
		if strings.Contains(accept, t) {
			return t
		}
	}
	return types.MediaTypeJSON
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	st, err := s.backend.Status(r.Context())
	if err != nil {
		return err
	}
	st.Networks = orEmpty(st.Networks)
	return writeJSON(w, http.StatusOK, st)
}

func (s *Server) shutdown(w http.ResponseWriter, r *http.Request) error {
	return writeStatus(w, http.StatusNoContent, s.backend.Shutdown(r.Context()))
}
