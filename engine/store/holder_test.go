package store

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestTheHolderOfALockIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// It has the file open twice, and the lock once; another one has it open only.
	for _, locks := range []bool{false, true} {
		script := "exec 8<" + path + " 9<" + path + "; echo; read x"
		if locks {
			script = "exec 8<" + path + " 9<" + path + "; flock -n 9; echo; read x"
		}
		cmd := exec.Command("sh", "-c", script)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer in.Close()
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		want := 0
		if locks {
			want = cmd.Process.Pid
		}
		if got := Holder(path); got != want {
			t.Errorf("locks %v: holder %d, want %d", locks, got, want)
		}
	}
	if got := Holder(path + "not"); got != 0 {
		t.Errorf("of no file: %d", got)
	}
}
