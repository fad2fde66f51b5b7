package shim

import (
	"errors"
	"testing"
)

// A shim that was told to go has nothing in the directory any more that its
// successor's could be mistaken for: a container that is restarted has the same one.
func TestTheNextShimMayHaveTheDirectoryAtOnce(t *testing.T) {
	spec := newSpec(t, sh("exec sleep 100")...)
	ctx := testContext(t)
	for range 20 {
		s, err := Create(ctx, spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(ctx); err != nil {
			t.Fatal(err)
		}
		err = s.Kill()
		if err == nil {
			_, err = s.Wait(ctx)
		}
		if err = errors.Join(err, s.Ack(ctx), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
