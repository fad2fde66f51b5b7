package worker

import (
	"strings"
	"testing"
	"time"
)

// Whoever finds no worker sees by LastExit whether there should be one.
func TestAFailedStartIsToldUntilAWorkerRestsInPeace(t *testing.T) {
	t.Setenv(logVariable, fakePrefix+"exit")
	s := newSupervisor(t, Options{})
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.NewPlane(netSpec()); err == nil {
		t.Fatal("a worker that ends at once carries a network")
	}
	if st := s.Status(); st.PID != 0 || !strings.Contains(st.LastExit, "status 3") {
		t.Errorf("after a failed start: %+v", st)
	}
	t.Setenv(logVariable, "info")
	s.mu.Lock()
	s.rest = 50 * time.Millisecond
	s.mu.Unlock()
	eventually(t, "a better worker", func() bool {
		p, err := s.NewPlane(netSpec())
		return err == nil && p.Close() == nil
	})
	eventually(t, "the worker's end", func() bool { return s.Status().PID == 0 })
	if st := s.Status(); st.LastExit != "" {
		t.Errorf("after a worker that was not needed any more: %q", st.LastExit)
	}
}
