package actors

import (
	"fmt"
	"net"
	"net/rpc"
	"os"
	"sync"
)

const (
	// personality is argv[1] of an actor; the hub's socket, its name and words of its program's follow.
	personality = "actor"
	// receiverName and greeting are what net/rpc calls the two that answer.
	receiverName = "Actor"
	greeting     = "Greeting"
)

// Dispatch returns at once unless this process was started as an actor; else it never returns. A program that uses this
// package calls it before anything else. The receiver's methods are what the driver may call; it is made with the words
// of Hub.Command.
func Dispatch(receiver func(words []string) (any, error)) {
	if len(os.Args) < 4 || os.Args[1] != personality {
		return
	}
	r, err := receiver(os.Args[4:])
	if err == nil {
		err = Serve(os.Args[2], os.Args[3], r)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "actor %s: %v\n", os.Args[3], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Serve does what the hub asks of the actor of that name, until the hub is gone.
func Serve(socket, name string, receiver any) error {
	server := rpc.NewServer()
	if err := server.RegisterName(receiverName, receiver); err != nil {
		return err
	}
	if err := server.RegisterName(greeting, &greeter{Who{name, os.Getpid()}}); err != nil {
		return err
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return fmt.Errorf("the driver: %w", err)
	}
	defer conn.Close()
	watched := &watchedConn{Conn: conn, over: make(chan struct{})}
	go server.ServeConn(watched) // which waits for requests that are under way: not wanted here
	<-watched.over
	return nil
}

// watchedConn tells of the end of what there is to be read.
type watchedConn struct {
	net.Conn
	once sync.Once
	over chan struct{}
}

func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.once.Do(func() { close(c.over) })
	}
	return n, err
}

// Who is the first thing an actor is asked.
type Who struct {
	Name string
	PID  int
}

type greeter struct{ who Who }

// Ask tells who this is.
func (g *greeter) Ask(_ struct{}, reply *Who) error {
	*reply = g.who
	return nil
}

// Held is a part of a receiver that leaves things open between two requests.
type Held struct {
	mu  sync.Mutex
	all []func()
}

// Hold remembers something to let go of at Release.
func (h *Held) Hold(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, f)
}

// Release lets go of everything. The driver calls it.
func (h *Held) Release(struct{}, *struct{}) error {
	h.mu.Lock()
	all := h.all
	h.all = nil
	h.mu.Unlock()
	for _, f := range all {
		f()
	}
	return nil
}
