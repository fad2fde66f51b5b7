package api

import (
	"context"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// NamespaceRequest asks for a network namespace that others made to be attached to
// networks as a container. It is named by PID or by NetNS.
type NamespaceRequest struct {
	Name string // of the container; "" asks for a generated one

	PID int `json:",omitempty"` // of a process in it
	// PIDStart is when the process started, as in /proc/PID/stat; 0: whichever process
	// has the number.
	PIDStart uint64 `json:",omitempty"`
	NetNS    string `json:",omitempty"` // absolute path
	// Descriptor is a network namespace that the client has open, by number. NetNS is
	// then a path that it may be found at again, in the mount namespace of the client.
	Descriptor *int `json:",omitempty"`
	// Passed is what Descriptor led to; the backend closes it. From is the user namespace
	// of the runtime that has passed it, which must have power over it; zero: it was passed
	// by a process of our own. The server sets both.
	Passed *os.File    `json:"-"`
	From   NamespaceID `json:"-"`
	// UserNS is the absolute path of the user namespace that the network namespace must
	// belong to; "": whichever it is.
	UserNS string `json:",omitempty"`
	// Via is another process in the namespace, by which that is opened while PID, which must
	// be given, keeps its own from its user: runtimes hide a process until it has become the
	// container's command. nil: by PID itself.
	Via *ProcessID `json:",omitempty"`
	// Bare asks for an interface that is only made, down and without addresses, for a runtime
	// that sets it up and moves it to another namespace. There may be many in a namespace, each
	// on one network. NamespaceDetach removes it, wherever it is then.
	Bare bool `json:",omitempty"`
	// Holder is a process whose end ends the attachment, nil for none.
	Holder *ProcessID `json:",omitempty"`
	// Files asks for the resolv.conf and hosts that a container of footbridge's would see,
	// kept current, for whoever asks to show them in there: ResolvConfPath and HostsPath of
	// ContainerInspect. What is about their lines may be asked for then.
	Files bool `json:",omitempty"`

	// Of these, what is about networks, ports, names and labels.
	container.CreateRequest
}

// ProcessID is a process that keeps meaning the same one.
type ProcessID struct {
	PID   int
	Start uint64 // as in /proc/PID/stat
}

// NamespaceDetail tells of an attached namespace what Docker has no word for.
type NamespaceDetail struct {
	Path      string // leads to the network namespace
	UserNS    string `json:",omitempty"` // as it was asked for
	PID       int    `json:",omitempty"`
	Inode     uint64
	HolderPID int `json:",omitempty"` // whose end ends the attachment
	// NameServers answer for the names of the networks: the gateways, or an address for
	// that alone where a network has none. Nobody has written them to a resolv.conf.
	NameServers []netip.Addr `json:",omitempty"`
}

// NamespaceBackend attaches namespaces that others made.
type NamespaceBackend interface {
	// NamespaceAttach returns when the interfaces are up. The server has checked
	// the name.
	NamespaceAttach(ctx context.Context, req NamespaceRequest) (container.CreateResponse, error)
	// NamespaceDetach ends the attachment, and returns when nothing is left of it.
	NamespaceDetach(ctx context.Context, nameOrID string) error
}

func (s *Server) namespaceAttach(w http.ResponseWriter, r *http.Request) error {
	var req NamespaceRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if req.Name = strings.TrimPrefix(req.Name, "/"); req.Name != "" {
		if err := checkNewName("container", req.Name); err != nil {
			return err
		}
	}
	given := req.NetNS != "" || req.Descriptor != nil
	if req.PID < 0 || (req.PID == 0) != given {
		return Errorf(errdefs.ErrInvalidArgument, "nothing to attach: give the PID of a process, or the path NetNS of a network namespace, and not both")
	}
	var guest bool
	req.From, guest = runtimeOf(r.Context())
	if guest && (req.Descriptor == nil || req.Via != nil || req.Holder != nil || req.UserNS != "") {
		return Errorf(errdefs.ErrPermissionDenied, "a runtime in a user namespace of its own passes the network namespace as a Descriptor, and names no process and no other namespace")
	}
	if req.Descriptor != nil {
		var err error
		if req.Passed, err = s.passed(r, *req.Descriptor); err != nil {
			return err
		}
	}
	res, err := s.backend.NamespaceAttach(r.Context(), req)
	if err != nil {
		return err
	}
	res.Warnings = orEmpty(res.Warnings)
	return writeJSON(w, http.StatusCreated, res)
}

func (s *Server) namespaceDetach(w http.ResponseWriter, r *http.Request) error {
	name, err := lookupName("container", r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeStatus(w, http.StatusNoContent, s.backend.NamespaceDetach(r.Context(), name))
}

// NamespaceAttach attaches a network namespace to networks as a container.
func (c *Client) NamespaceAttach(ctx context.Context, req NamespaceRequest) (container.CreateResponse, error) {
	var out container.CreateResponse
	return out, c.postOwn(ctx, "/attach", req, &out)
}

// NamespaceAttachFile is NamespaceAttach of a namespace that this process has open. Where
// the daemon finds the same one at req.NetNS, the attachment ends with the path; else when
// nobody lives in the namespace and nobody sees the path any more.
func (c *Client) NamespaceAttachFile(ctx context.Context, req NamespaceRequest, netns *os.File) (container.CreateResponse, error) {
	fd := int(netns.Fd())
	defer runtime.KeepAlive(netns)
	req.Descriptor = &fd
	return c.NamespaceAttach(ctx, req)
}

// NamespaceDetach ends the attachment of a namespace.
func (c *Client) NamespaceDetach(ctx context.Context, nameOrID string) error {
	return c.postOwn(ctx, pathOf("containers", nameOrID, "detach"), nil, nil)
}
