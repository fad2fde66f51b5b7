package load

import (
	"slices"
	"time"
)

// Kind is what a job does.
type Kind string

// The kinds of jobs.
const (
	// Stream keeps one TCP connection to an echo server, writes numbered blocks at a rate and checks what comes back.
	Stream Kind = "stream"
	// Echo sends numbered datagrams from one socket and takes down when each comes back.
	Echo Kind = "echo"
	// Ask opens a TCP connection each time, reads to its end and compares.
	Ask Kind = "ask"
	// Query asks a name server for an address each time, from one socket.
	Query Kind = "query"
	// Knock tries what is forbidden: any byte or datagram that comes back is a success, and none is wanted. Each time
	// it tries TCP and UDP.
	Knock Kind = "knock"
)

// Job says what an agent shall do until it is told to stop.
type Job struct {
	Name     string
	Kind     Kind
	To       string        // address and port
	Question string        // Query: the name
	Want     string        // what an Ask's answer or an Echo's addition begins with, a Query's address; empty: anything
	Every    time.Duration // between the beginnings of two attempts, or two blocks of a stream
	Patience time.Duration // an attempt without an answer fails after it; default 2 s
	Block    int           // Stream: bytes written each time; default 4096
	// Again lets a stream that broke begin anew. Without it the first break is the end of the job.
	Again bool
	// Between says that the job is one from container to container on one network: frames pass the switch alone, and no
	// state of the program's is between them.
	Between bool
}

func (j Job) patience() time.Duration {
	if j.Patience > 0 {
		return j.Patience
	}
	return 2 * time.Second
}

// Attempt is one question and its end.
type Attempt struct {
	Begin   time.Duration
	End     time.Duration `json:",omitempty"` // zero: not ended yet
	Problem string        `json:",omitempty"`
}

// OK says that the attempt ended as it should.
func (a Attempt) OK() bool { return a.End != 0 && a.Problem == "" }

// Gap is a time in which a stream stood still.
type Gap struct{ Begin, End time.Duration }

// Break is the end of a stream that nobody asked for.
type Break struct {
	At      time.Duration
	Problem string
}

// Report is what a job has to tell of the time since it was asked for.
type Report struct {
	Job      Job
	Attempts []Attempt     `json:",omitempty"` // in the order of their beginnings
	Gaps     []Gap         `json:",omitempty"` // of a stream, longer than gapLimit; the last may still last
	Breaks   []Break       `json:",omitempty"`
	Corrupt  string        `json:",omitempty"` // what a stream read that nobody wrote
	Bytes    uint64        // that a stream read since its beginning
	Progress time.Duration // when a stream last read something
	Total    uint64        // attempts since the beginning
	Failed   uint64        // of which failed
	Latest   string        `json:",omitempty"` // how the latest of them failed
	Longest  time.Duration // that an attempt took since the beginning
}

// row is how many attempts must succeed one after the other to say that something works.
const row = 3

// Recovered returns how long after a moment the job's attempts succeeded again: the earliest time at which a row of
// attempts, all begun after it, had been answered. What was begun in between and was never answered does not
// count, nor does one that took longer.
func (r Report) Recovered(hit time.Duration) (time.Duration, bool) {
	attempts := r.since(hit)
	best, found := time.Duration(0), false
	for i := 0; i+row <= len(attempts); i++ {
		good, end := true, time.Duration(0)
		for _, a := range attempts[i : i+row] {
			good = good && a.OK()
			end = max(end, a.End)
		}
		if good && (!found || end < best) {
			best, found = end, true
		}
	}
	return best - hit, found
}

// Failures lists the attempts begun at or after a moment that failed.
func (r Report) Failures(from time.Duration) []Attempt {
	return slices.DeleteFunc(r.since(from), func(a Attempt) bool { return a.End == 0 || a.Problem == "" })
}

// Successes lists the attempts begun at or after a moment that were answered.
func (r Report) Successes(from time.Duration) []Attempt {
	return slices.DeleteFunc(r.since(from), func(a Attempt) bool { return !a.OK() })
}

// Slowest returns the longest time that an answered attempt begun since then took.
func (r Report) Slowest(from time.Duration) time.Duration {
	longest := time.Duration(0)
	for _, a := range r.Successes(from) {
		longest = max(longest, a.End-a.Begin)
	}
	return longest
}

// LongestGap returns the longest time that a stream stood still, of gaps that lasted at or after a moment.
func (r Report) LongestGap(from time.Duration) time.Duration {
	longest := time.Duration(0)
	for _, g := range r.Gaps {
		if g.End >= from {
			longest = max(longest, g.End-g.Begin)
		}
	}
	return longest
}

func (r Report) since(from time.Duration) []Attempt {
	var list []Attempt
	for _, a := range r.Attempts {
		if a.Begin >= from {
			list = append(list, a)
		}
	}
	return list
}
