package actors

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const patience = 10 * time.Second

// Echo is a receiver.
type Echo struct {
	Held
	words []string
	block chan struct{}
}

// Say returns what it was told, with its words before it.
func (e *Echo) Say(text string, reply *string) error {
	if text == "" {
		return errors.New("nothing was said")
	}
	*reply = strings.Join(append(e.words, text), " ")
	return nil
}

// Block waits.
func (e *Echo) Block(struct{}, *struct{}) error {
	<-e.block
	return nil
}

func TestMain(m *testing.M) {
	Dispatch(func(words []string) (any, error) {
		if len(words) > 0 && words[0] == "refuse" {
			return nil, errors.New("refused")
		}
		return &Echo{words: words}, nil
	})
	os.Exit(m.Run())
}

func newHub(t *testing.T) *Hub {
	t.Helper()
	h, err := NewHub(filepath.Join(t.TempDir(), "hub"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// start runs an actor as a process, which ends with its hub.
func start(t *testing.T, h *Hub, after *Actor, name string, words ...string) *Actor {
	t.Helper()
	command := h.Command(name, words...)
	cmd := exec.Command(command[0], command[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	a, err := h.Await(name, after, patience)
	if err != nil {
		t.Fatal(err)
	}
	if a.PID != cmd.Process.Pid {
		t.Errorf("its pid is %d, and it says %d", cmd.Process.Pid, a.PID)
	}
	t.Cleanup(func() {
		if err := errors.Join(a.Close(), <-ended); err != nil {
			t.Error(err)
		}
	})
	return a
}

func say(a *Actor, text string) (string, error) {
	var reply string
	err := a.Call(patience, "Say", text, &reply)
	return reply, err
}

func TestActorsDoWhatTheyAreAsked(t *testing.T) {
	h := newHub(t)
	b, a := start(t, h, nil, "b", "I", "say"), start(t, h, nil, "a")
	if reply, err := say(b, "hello"); err != nil || reply != "I say hello" {
		t.Errorf("%q, %v", reply, err)
	}
	if _, err := say(a, ""); err == nil || err.Error() != "a, Say: nothing was said" || errors.Is(err, ErrGone) {
		t.Errorf("an error of the receiver's: %v", err)
	}
	if err := a.Call(patience, "Dance", "", new(string)); err == nil || errors.Is(err, ErrGone) {
		t.Errorf("what the receiver cannot: %v", err)
	}
	if list := h.Actors(); len(list) != 2 || list[0] != a || list[1] != b || h.Find("a") != a || h.Find("c") != nil {
		t.Errorf("actors %v", list)
	}
	if _, err := h.Await("c", nil, time.Millisecond); err == nil {
		t.Error("there is an actor that was never started")
	}
}

func TestAnActorThatComesBackTakesItsPlace(t *testing.T) {
	h := newHub(t)
	first := start(t, h, nil, "a")
	second := start(t, h, first, "a")
	if _, err := say(first, "x"); !errors.Is(err, ErrGone) || !first.Gone() {
		t.Errorf("the earlier one: %v", err)
	}
	if _, err := say(second, "x"); err != nil || second.Gone() || h.Find("a") != second {
		t.Errorf("the later one: %v", err)
	}
}

func TestAnActorThatIsGoneIsToldOf(t *testing.T) {
	h := newHub(t)
	for name, end := range map[string]func(*Actor) error{
		"closed": (*Actor).Close,
		"killed": func(a *Actor) error {
			p, err := os.FindProcess(a.PID)
			if err == nil {
				err = p.Kill()
			}
			return err
		},
	} {
		command := h.Command(name)
		cmd := exec.Command(command[0], command[1:]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		a, err := h.Await(name, nil, patience)
		if err == nil {
			err = end(a)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if _, err := say(a, "x"); !errors.Is(err, ErrGone) || !a.Gone() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list := h.Actors(); len(list) != 0 {
		t.Errorf("actors %v", list)
	}
	late := start(t, h, nil, "late")
	if err := late.Call(time.Millisecond, "Block", struct{}{}, &struct{}{}); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "no answer after 1ms") || !late.Gone() {
		t.Errorf("one that does not answer: %v", err)
	}
}

func TestWhatIsNoActorEndsWithAnError(t *testing.T) {
	h := newHub(t)
	for name, command := range map[string][]string{
		"refused": h.Command("a", "refuse"),
		"no hub":  {program, personality, h.socket + "x", "a"},
	} {
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		if err == nil || !strings.HasPrefix(string(out), "actor a: ") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

func TestWhatIsHeldIsReleasedOnce(t *testing.T) {
	var h Held
	n := 0
	for range 3 {
		h.Hold(func() { n++ })
	}
	for range 2 {
		if err := h.Release(struct{}{}, &struct{}{}); err != nil || n != 3 {
			t.Errorf("%d, %v", n, err)
		}
	}
}
