package main

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"syscall"

	"github.com/footbridge-net/footbridge/tests/world"
)

// roleFootbridge is the argument with which this program becomes footbridge's side.
const roleFootbridge = "footbridge-side"

// footbridgeSide is the unprivileged process that has the user's world.
type footbridgeSide struct {
	cmd  *exec.Cmd
	stop io.Closer
	ask  *rpc.Client
}

// startFootbridge makes footbridge's side.
func startFootbridge() (*footbridgeSide, error) {
	cmd := exec.Command("/proc/self/exe", roleFootbridge)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f := &footbridgeSide{cmd: cmd, stop: in, ask: rpc.NewClient(duplex{out, in})}
	// The first answer comes when the world is there.
	if _, err := f.run("host", []string{"footbridge", "network", "ls"}); err != nil {
		f.close()
		return nil, fmt.Errorf("footbridge's side: %w", err)
	}
	return f, nil
}

// Command is what is asked of footbridge's side.
type Command struct {
	Place string
	Args  []string
}

func (f *footbridgeSide) run(place string, args []string) (Answer, error) {
	var a Answer
	err := f.ask.Call("Commands.Run", Command{place, args}, &a)
	return a, err
}

func (f *footbridgeSide) close() {
	f.ask.Close()
	f.cmd.Wait()
}

// serveFootbridge is footbridge's side: it ends when its input does.
func serveFootbridge() int {
	w, err := world.Start(world.Options{Footbridge: world.Binary(), Share: world.SharedFolders()})
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance: footbridge's world:", err)
		return 1
	}
	defer w.Close()
	s := rpc.NewServer()
	if err := s.Register(&Commands{w: w, env: append(w.Environ(), "DOCKER_HOST=unix://"+world.RuntimeDir+"/footbridge/footbridge.sock")}); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		return 1
	}
	s.ServeConn(duplex{os.Stdin, os.Stdout})
	return 0
}

// Commands is what footbridge's side can be asked. It is exported for net/rpc only.
type Commands struct {
	w   *world.World
	env []string
}

// Run carries out a command in the user's world.
func (c *Commands) Run(what Command, a *Answer) error {
	var err error
	*a, err = runIn(c.w, world.Place(what.Place), what.Args, c.env)
	return err
}

// duplex is a connection made of two pipes.
type duplex struct {
	io.ReadCloser
	w io.WriteCloser
}

func (d duplex) Write(b []byte) (int, error) { return d.w.Write(b) }
func (d duplex) Close() error                { return errors.Join(d.w.Close(), d.ReadCloser.Close()) }
