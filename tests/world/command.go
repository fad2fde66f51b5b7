package world

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Cmd is a command in the world, used like an exec.Cmd: set what is needed, then Start and Wait, or Run.
type Cmd struct {
	Place  Place
	Args   []string
	Env    []string  // default: the user's environment
	Dir    string    // default: Home
	Stdin  io.Reader // default: empty. An *os.File is passed as it is
	Stdout io.Writer // default: discarded. An *os.File is passed as it is
	Stderr io.Writer
	TTY    bool // Stdin is a terminal and becomes the controlling one

	PID int // process id inside the world, after Start

	w       *World
	control *os.File
	copies  sync.WaitGroup
	pipes   []*os.File
}

// Result is how a command ended.
type Result struct {
	Stdout, Stderr string
	Code           int // exit status, 128+signal for a signal, as a shell says it; -1 if it could not be started
	Err            error
}

// outputDelay is how long the output of an ended command may stay open; a program that leaves a daemon behind has
// to close it, or command substitution in a shell would hang.
const outputDelay = 3 * time.Second

// Command prepares a command.
func (w *World) Command(place Place, args ...string) *Cmd {
	return &Cmd{Place: place, Args: args, w: w}
}

// Run runs a command to its end.
func (w *World) Run(place Place, args ...string) Result {
	var out, errs bytes.Buffer
	c := w.Command(place, args...)
	c.Stdout, c.Stderr = &out, &errs
	code, err := c.Run()
	return Result{Stdout: out.String(), Stderr: errs.String(), Code: code, Err: err}
}

// Start starts the command. It ends with the world at the latest.
func (c *Cmd) Start() error {
	if len(c.Args) == 0 {
		return errors.New("starting a command: no command given")
	}
	r := request{Place: c.Place, Args: c.Args, Env: c.Env, Dir: c.Dir, TTY: c.TTY}
	if r.Env == nil {
		r.Env = c.w.env
	}
	if r.Dir == "" {
		r.Dir = Home
	}
	ours, theirs, err := socketpair()
	if err != nil {
		return err
	}
	c.control = ours
	var passed []*os.File // ends to close here once they are sent
	defer func() { closeAll(passed) }()
	passed = append(passed, theirs)

	in, err := c.input(&passed)
	if err != nil {
		return err
	}
	out, err := c.output(c.Stdout, &passed)
	if err != nil {
		return err
	}
	errs := out
	if c.Stderr != c.Stdout {
		if errs, err = c.output(c.Stderr, &passed); err != nil {
			return err
		}
	}
	agent := c.w.privileged
	if c.Place == Host {
		agent = c.w.ordinary
	}
	if err := send(agent, r, in, out, errs, theirs); err != nil {
		c.abandon()
		return fmt.Errorf("starting %s: %w", c.Args[0], err)
	}
	closeAll(passed)
	passed = nil
	var started reply
	if _, err := receive(c.control, &started); err != nil {
		c.abandon()
		return fmt.Errorf("starting %s: the world has ended: %w", c.Args[0], err)
	}
	if started.Error != "" {
		c.abandon()
		return fmt.Errorf("starting %s on %s: %s", c.Args[0], c.Place, started.Error)
	}
	c.PID = started.PID
	c.w.keep(c)
	return nil
}

func (c *Cmd) abandon() {
	c.control.Close()
	closeAll(c.pipes)
}

// input returns the file that the command reads; what must be closed after it was passed is added to the list.
func (c *Cmd) input(passed *[]*os.File) (*os.File, error) {
	if f, ok := c.Stdin.(*os.File); ok {
		return f, nil
	}
	if c.Stdin == nil {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		*passed = append(*passed, f)
		return f, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	*passed = append(*passed, r)
	go func() {
		io.Copy(w, c.Stdin)
		w.Close()
	}()
	return r, nil
}

// output returns the file that the command writes.
func (c *Cmd) output(to io.Writer, passed *[]*os.File) (*os.File, error) {
	if f, ok := to.(*os.File); ok {
		return f, nil
	}
	if to == nil {
		f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		*passed = append(*passed, f)
		return f, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	*passed = append(*passed, w)
	c.pipes = append(c.pipes, r)
	c.copies.Add(1)
	go func() {
		defer c.copies.Done()
		io.Copy(to, r)
	}()
	return w, nil
}

// Wait returns the exit status. An error means that the world ended or that the output stayed open.
func (c *Cmd) Wait() (int, error) {
	defer c.control.Close()
	defer c.w.forget(c)
	var ended reply
	if _, err := receive(c.control, &ended); err != nil {
		closeAll(c.pipes)
		return -1, fmt.Errorf("waiting for %s: the world has ended: %w", c.Args[0], err)
	}
	copied := make(chan struct{})
	go func() {
		c.copies.Wait()
		close(copied)
	}()
	var err error
	select {
	case <-copied:
	case <-time.After(outputDelay):
		err = fmt.Errorf("%s ended, but something it started keeps its output open", strings.Join(c.Args, " "))
	}
	closeAll(c.pipes)
	<-copied
	return ended.ExitCode, err
}

// Run starts the command and waits for it.
func (c *Cmd) Run() (int, error) {
	if err := c.Start(); err != nil {
		return -1, err
	}
	return c.Wait()
}

// Signal sends a signal to the command.
func (c *Cmd) Signal(s syscall.Signal) error {
	return send(c.control, instruction{Signal: int(s)})
}

// Kill ends the command and its process group.
func (c *Cmd) Kill() { c.Signal(syscall.SIGKILL) }
