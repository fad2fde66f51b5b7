// Package api is how the daemon is spoken to: HTTP and JSON over a unix socket,
// in the shapes of Docker's Engine API and with its types, so that the docker
// command line and Docker's libraries can list, create, inspect and connect.
// What Docker has no word for lives below /footbridge/v1/.
//
//	 command line          daemon
//	+-----------+   +--------------------------------------------------------+
//	| Client    |   | Server                                                 |
//	|  New      |===| acceptConn: whose process is it?  (peer.go)            |
//	|  methods  |   | negotiate: /v1.24 .. /v1.56       (version.go)         |
//	|  Hijacked |   | dispatch -> handler -> Backend    (routes, handle_*)   |
//	+-----------+   |             |   errors: class <-> status (errors.go)   |
//	 docker         |             +-> streams: events, logs, wait, hijack    |
//	                +--------------------------------------------------------+
//
// The engine implements [Backend] and knows no HTTP; the server knows no
// containers. Between them stand moby's types and a few of our own.
//
// Errors keep their class across the wire: a backend's error with a class of
// containerd/errdefs in its chain becomes a status, and the client makes an
// error of the same class with the same text of it. Besides, the sentinels
// ErrCommandNotFound and ErrCommandNotExecutable arrive as themselves.
//
// Who may connect: only processes of the daemon's own uid, in the daemon's own
// user namespace; and, for a short list of requests about network namespaces of their
// own, runtimes that live in a user namespace below it (runtimepeer.go). The socket has mode 0600 in a directory with mode 0700 that
// belongs to the user ([Listen], [CheckDir]); the kernel says who is at the
// other end (peer.go). The client asks the same of the daemon.
//
// What a client sends is bounded: the header in size and time, the body in size
// and time, names in length and characters. So are connections, in number, and the
// time that a client may take to read an answer (bounds.go). Streams are bounded by
// neither. Errors hold nothing that a terminal would obey.
//
// **Lifetime**: [Server.Serve] runs until [Server.Shutdown], which ends streams
// and lets other requests finish; the listener is closed by it and removes the
// socket. A [Stream] is opened by the backend and closed by the server; the connection of
// a dial is given away, and neither has a part in it afterwards (dial.go). What a
// [Client] opens ([Hijacked], [Logs], channels) ends by Close, by being read to
// the end, or with its context.
//
// **Concurrency**: each connection has its goroutine (net/http's); an attachment
// has one a direction and stream, and none outlives its handler. The server's
// own state is two counters behind one mutex that is never held across a call.
// The backend is called from all of them at once.
package api
