package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
)

// An upgrade.
//
//	client                                  daemon
//	POST .../upgrade {Binary}  ---------->  is it a program that can take over? an error ends it here
//	                           <----------  {From, To, PID}
//	                                        Pause, and the rest; then execve(2), which
//	                           <- - - - - -  ends the connection; or it failed:
//	                           <----------  an error's body, and the old program goes on
//
// So an answer of one value whose connection breaks is one of a daemon that has become
// another program, and who connects again is served by that.

// UpgradeRequest asks the daemon to become another program.
type UpgradeRequest struct {
	Binary string // absolute path
}

// Upgrade is one: from a version to another, in the process PID.
type Upgrade struct {
	From, To string
	PID      int
}

// UpgradeOutcome says how the last upgrade of this daemon ended.
type UpgradeOutcome struct {
	From, To string
	At       time.Time
	// Error says why From goes on; empty when To has taken over.
	Error string `json:",omitempty"`
}

// Upgrader can put another program in the daemon's place.
type Upgrader interface {
	// Upgrade checks a program and then begins to put it in this one's place. Failed
	// yields an error when that comes to nothing after all; else this process becomes
	// the other program, and nothing is ever yielded. It does not begin before the
	// request is a stream, which it is when the client has the answer.
	Upgrade(ctx context.Context, req UpgradeRequest) (answer Upgrade, failed <-chan error, err error)
}

func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) error {
	if s.upgrader == nil {
		return Errorf(errdefs.ErrNotImplemented, "this daemon cannot be upgraded in place: stop it with `footbridge daemon stop`; the next command starts the other")
	}
	var req UpgradeRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	answer, failed, err := s.upgrader.Upgrade(r.Context(), req)
	if err != nil {
		return err
	}
	// The header last: Pause waits until this is a stream, so the client has it all.
	encoder, rc := json.NewEncoder(w), http.NewResponseController(w)
	_ = encoder.Encode(answer)
	_ = rc.Flush() // a client that is gone has begun an upgrade all the same
	done := s.stream()
	defer done()
	select {
	case err := <-failed:
		_, _ = w.Write(encodeError(err))
	case <-s.closing.Done():
		_, _ = w.Write(encodeError(errShuttingDown))
	}
	return nil
}

// Upgrade asks the daemon to become another program, and returns when it is
// executed: who connects then is served by it, as soon as it is ready. An error says why
// the daemon goes on as it is.
func (c *Client) Upgrade(ctx context.Context, req UpgradeRequest) (Upgrade, error) {
	var out Upgrade
	body, err := json.Marshal(req)
	if err != nil {
		return out, err
	}
	resp, err := c.do(ctx, request{method: http.MethodPost, path: ownPrefix + "/upgrade", body: body, unversioned: true})
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	d := json.NewDecoder(resp.Body)
	if err := d.Decode(&out); err != nil {
		return out, c.lost(fmt.Errorf("read the answer to the upgrade: %w", err))
	}
	var failed errorBody
	switch err := d.Decode(&failed); {
	case err == nil:
		return out, Errorf(errdefs.ErrUnavailable, "%s", failed.Message)
	case ctx.Err() != nil:
		return out, ctx.Err()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), isReset(err):
		return out, nil
	default:
		return out, fmt.Errorf("read the answer to the upgrade: %w", err)
	}
}
