package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/internal/netavark"
)

// replyTimeout bounds a conversation on the forwarder's socket: podman waits for the
// answer to its one message.
const replyTimeout = 10 * time.Second

// forward is podman's port forwarder. What it prints is podman's error.
func (p *program) forward(ctx context.Context) int {
	input, err := io.ReadAll(p.stdin)
	if err == nil {
		err = p.forwardPorts(ctx, input)
	}
	if err != nil {
		fmt.Fprintln(p.stdout, err)
		return 1
	}
	return 0
}

func (p *program) forwardPorts(ctx context.Context, input []byte) error {
	conf, err := netavark.ReadPortConfig(bytes.NewReader(input))
	if err != nil {
		return err
	}
	f := &forwarder{id: conf.ContainerID}
	if f.ports, err = netavark.PortMap(conf.Mappings); err != nil {
		return err
	}
	f.d, err = p.connect(ctx, plugin.Options{Getenv: p.getenv, Existing: true})
	var attached string
	if err == nil {
		attached, err = findContainer(ctx, f.d, f.id)
	}
	if attached == "" && (err == nil || errors.Is(err, api.ErrNoDaemon)) {
		return podmansOwn(input) // other networks' containers are not our business
	}
	if err != nil {
		return err
	}
	ready, exit := os.NewFile(uintptr(conf.ReadyFD), "ReadyFD"), os.NewFile(uintptr(conf.ExitFD), "ExitFD")
	if err := f.publish(ctx); err != nil {
		return err
	}
	if conf.RootlessCNI {
		l, remove, err := listenPacket(conf.Socket())
		if err != nil {
			return err
		}
		defer remove()
		go f.serve(ctx, l)
	}
	if _, err := ready.WriteString("1"); err != nil {
		return fmt.Errorf("tell podman that the ports are open: %w", err)
	}
	_ = ready.Close()
	silence()
	_, _ = io.Copy(io.Discard, exit) // to the end of the container, however it ends
	return nil
}

// forwarder publishes the ports of one container. It does not take them back: they go when
// podman tears the network down. Of a container that podman starts again without that
// (--restart) the next forwarder is there before this one has seen the end.
type forwarder struct {
	d     daemon
	id    string // podman's
	ports network.PortMap
}

// publish opens the ports, if the container is attached: it may be connected later. What
// the CNI plugin has opened is asked for in the same words, and stays.
func (f *forwarder) publish(ctx context.Context) error {
	id, err := findContainer(ctx, f.d, f.id)
	if err != nil || id == "" {
		return err
	}
	res, err := f.d.ContainerPublish(ctx, id, api.PublishRequest{PortBindings: f.ports})
	for _, w := range res.Warnings {
		fmt.Fprintln(os.Stderr, "footbridge:", w)
	}
	return err
}

// serve answers podman, which tells of a network that the container has come to, or gone
// from. Ports follow the container's networks by themselves, but for the first after a
// time without any.
func (f *forwarder) serve(ctx context.Context, l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(replyTimeout))
		// One packet; the address in it is known already.
		var childIP string
		answer, message := "OK", make([]byte, 4096)
		if n, err := conn.Read(message); err != nil || json.Unmarshal(message[:n], &childIP) != nil {
			answer = "the message is not a JSON string"
		} else if err := f.publish(ctx); err != nil {
			answer = err.Error()
		}
		_, _ = io.WriteString(conn, answer)
		_ = conn.Close()
	}
}

// listenPacket makes a socket whose path may be longer than an address holds. remove closes
// it and removes it, unless the next forwarder has put its own there.
func listenPacket(path string) (l *net.UnixListener, remove func(), err error) {
	fail := func(err error) (*net.UnixListener, func(), error) {
		return nil, nil, fmt.Errorf("the socket %s at which podman tells of changes: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fail(err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // of one that was killed
		return fail(err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fail(err)
	}
	defer dir.Close()
	short := filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), filepath.Base(path))
	if l, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: short, Net: "unixpacket"}); err != nil {
		return fail(err)
	}
	l.SetUnlinkOnClose(false) // that path is another's then
	ours, err := os.Lstat(path)
	if err != nil {
		_ = l.Close()
		return fail(err)
	}
	return l, func() {
		_ = l.Close()
		if there, err := os.Lstat(path); err == nil && os.SameFile(there, ours) {
			_ = os.Remove(path)
		}
	}, nil
}

// silence lets go of podman's pipes: nobody reads them any more.
func silence() {
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for fd := range 3 {
			_ = unix.Dup3(int(null.Fd()), fd, 0)
		}
		_ = null.Close()
	}
}
