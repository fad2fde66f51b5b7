package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

func TestTheHolderOfALockIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// It has the file open twice, and the lock once; another one has it open only.
	for _, locks := range []bool{false, true} {
		lock := ""
		if locks {
			lock = "flock -n 9; "
		}
		other := nstest.Start(t, "", "sh", "-c", "exec 8<"+path+" 9<"+path+"; "+lock+"echo open; read x")
		other.Says("open")
		want := 0
		if locks {
			want = other.PID
		}
		if got := Holder(path); got != want {
			t.Errorf("locks %v: holder %d, want %d", locks, got, want)
		}
	}
	if got := Holder(path + "not"); got != 0 {
		t.Errorf("of no file: %d", got)
	}
}
