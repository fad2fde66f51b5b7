package foreign

import (
	"errors"
	"sync"
	"time"
)

const (
	// patience is how long a file system may take to answer. Those of this machine take microseconds, one across a
	// network a second on a bad day.
	patience = 5 * time.Second
	// maxAsked bounds the questions that are open at once: each may keep a thread for ever, and Go ends a program with
	// 10,000 of them.
	maxAsked = 256
)

// ErrSilent: a file system does not answer, so nothing is known.
var ErrSilent = errors.New("the file system does not answer")

// paths is whom everything asks that follows a path which others named.
var paths = newAsker(patience, maxAsked)

// An asker puts questions to file systems. What answers may be a program (FUSE), or a machine far away; the thread that
// waits for it waits for ever if that likes, and cannot be taken back. Neither O_PATH nor AT_STATX_DONT_SYNC help: the
// kernel asks for the names on the way. So a question has a goroutine, and whoever asks leaves it behind when patience is
// over. About one thing there is one question at a time, however many ask: who keeps one attachment from being looked at
// costs one thread.
type asker struct {
	patience time.Duration
	room     chan struct{} // one for each open question

	mu   sync.Mutex
	open map[string]*question
}

type question struct {
	since time.Time
	over  chan struct{}
}

func newAsker(patience time.Duration, most int) *asker {
	return &asker{patience: patience, room: make(chan struct{}, most), open: make(map[string]*question)}
}

// ask returns what do returns, or ErrSilent. about is what is asked about; drop disposes of an answer that comes when
// nobody waits for it any more.
func ask[T any](a *asker, about string, do func() (T, error), drop func(T)) (T, error) {
	var none T
	q, err := a.begin(about)
	if err != nil {
		return none, err
	}
	type answer struct {
		value T
		err   error
	}
	answers, left := make(chan answer), make(chan struct{})
	go func() {
		value, err := do()
		a.end(about, q)
		select {
		case answers <- answer{value, err}:
		case <-left:
			if err == nil {
				drop(value)
			}
		}
	}()
	late := time.NewTimer(a.patience)
	defer late.Stop()
	select {
	case got := <-answers:
		return got.value, got.err
	case <-late.C:
		close(left)
		return none, silent(about)
	}
}

// begin waits until nobody else asks about the same, which is in vain once that question is over its time, and for room.
func (a *asker) begin(about string) (*question, error) {
	own := &question{since: time.Now(), over: make(chan struct{})}
	for {
		a.mu.Lock()
		other := a.open[about]
		if other == nil {
			a.open[about] = own
			a.mu.Unlock()
			break
		}
		a.mu.Unlock()
		if !within(a.patience-time.Since(other.since), other.over) {
			return nil, silent(about)
		}
	}
	full := time.NewTimer(a.patience)
	defer full.Stop()
	select {
	case a.room <- struct{}{}:
		return own, nil
	case <-full.C:
		a.forget(about, own)
		return nil, as(ErrSilent, "%s cannot be looked at while %d file systems do not answer; look which of the programs or machines that serve them are stuck", about, cap(a.room))
	}
}

func silent(about string) error {
	return as(ErrSilent, "%s cannot be looked at: the file system there does not answer; look whether the program or the machine that serves it still works", about)
}

func (a *asker) end(about string, q *question) {
	<-a.room
	a.forget(about, q)
}

func (a *asker) forget(about string, q *question) {
	a.mu.Lock()
	delete(a.open, about)
	a.mu.Unlock()
	close(q.over)
}

// within reports whether ch is closed in time.
func within(d time.Duration, ch <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ch:
		return true
	case <-t.C:
		return false
	}
}
