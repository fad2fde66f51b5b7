package actors

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/rpc"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// ErrGone is returned by calls to an actor whose process has ended, or that has not answered in time.
var ErrGone = errors.New("the actor is gone")

// Hub is where actors report.
type Hub struct {
	socket   string
	listener net.Listener

	mu     sync.Mutex
	actors map[string]*Actor // by name, the latest one
}

// NewHub listens on a unix socket, in a folder that all places of the world see.
func NewHub(socket string) (*Hub, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listening for actors: %w", err)
	}
	h := &Hub{socket: socket, listener: l, actors: make(map[string]*Actor)}
	go h.accept()
	return h, nil
}

func (h *Hub) accept() {
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			return
		}
		go h.welcome(conn)
	}
}

// welcome asks an actor who it is.
func (h *Hub) welcome(conn net.Conn) {
	a := &Actor{client: rpc.NewClient(conn)}
	var who Who
	if err := a.client.Call(greeting+".Ask", struct{}{}, &who); err != nil {
		a.client.Close()
		return
	}
	a.Name, a.PID = who.Name, who.PID
	h.mu.Lock()
	defer h.mu.Unlock()
	if earlier := h.actors[a.Name]; earlier != nil {
		_ = earlier.Close() // of a container that is no more
	}
	h.actors[a.Name] = a
}

// Command is the command that becomes the actor of that name: this program, in the folder of the run. The words are for
// whoever makes the receiver.
func (h *Hub) Command(name string, words ...string) []string {
	return append([]string{program, personality, h.socket, name}, words...)
}

// program is this program's file.
var program, _ = os.Executable()

// Find returns the latest actor of that name, nil if there has been none.
func (h *Hub) Find(name string) *Actor {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.actors[name]
}

// Await returns the actor of that name that has come after the given one, which may be nil.
func (h *Hub) Await(name string, after *Actor, limit time.Duration) (*Actor, error) {
	var a *Actor
	if !world.Poll(limit, func() bool { a = h.Find(name); return a != nil && a != after }) {
		return nil, fmt.Errorf("waited %v for the actor %s", limit, name)
	}
	return a, nil
}

// Actors lists those of which no call has found that they are gone, sorted by name.
func (h *Hub) Actors() []*Actor {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := slices.DeleteFunc(slices.Collect(maps.Values(h.actors)), (*Actor).Gone)
	slices.SortFunc(list, func(x, y *Actor) int { return strings.Compare(x.Name, y.Name) })
	return list
}

// Close ends all actors.
func (h *Hub) Close() error {
	err := h.listener.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.actors {
		err = errors.Join(err, a.Close())
	}
	return err
}
