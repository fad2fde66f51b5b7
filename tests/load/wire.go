package load

import (
	"fmt"
	"time"
)

// hello is the first thing an agent says.
type hello struct {
	Name string
	PID  int // in the agent's own pid namespace
}

// request is what an agent may be asked, by one of its fields.
type request struct {
	Start   *Job
	Stop    string         // name of a job; "*" for all
	Report  *time.Duration // what happened since then
	Signal  *signal
	Process int  // pid of which a Sample is wanted
	Links   bool // names of network interfaces
}

// signal is a signal to a process.
type signal struct{ PID, Number int }

// answer answers a request.
type answer struct {
	Error   string        `json:",omitempty"`
	At      time.Duration // when it was done: of a signal, just before
	Reports []Report      `json:",omitempty"`
	Sample  *Sample       `json:",omitempty"`
	Links   []string      `json:",omitempty"`
}

func (a answer) err(name string) error {
	if a.Error == "" {
		return nil
	}
	return fmt.Errorf("agent %s: %s", name, a.Error)
}
