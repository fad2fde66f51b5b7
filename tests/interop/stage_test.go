package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stageOf makes a machine without footbridge.
func stageOf(t *testing.T, p part) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "fbi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bin := filepath.Join(dir, "bin")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(bin, 0o755)); err != nil {
		t.Fatal(err)
	}
	s, err := newStage(filepath.Join(dir, "part"), bin, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func TestTheUserIsAnOrdinaryOne(t *testing.T) {
	s := stageOf(t, part{})
	err := s.perform(cell{run: func(s *stage) error {
		if id := s.user.run("id", "-un"); id != "user" {
			return fmt.Errorf("the user is %s", id)
		}
		if caps := s.user.run("sed", "-n", `s/^Cap\(Prm\|Eff\|Amb\|Inh\):\t//p`, "/proc/self/status"); strings.Trim(caps, "0\n") != "" {
			return fmt.Errorf("the user has capabilities: %s", caps)
		}
		file := s.write("sub/file", "text", 0o600)
		if text := s.user.run("cat", file); text != "text" {
			return fmt.Errorf("the user's file says %q", text)
		}
		s.user.run("touch", filepath.Join(filepath.Dir(file), "another"))
		s.user.run("sh", "-c", `touch "$XDG_RUNTIME_DIR/file" "$HOME/file"`)
		s.user.refuse("touch", "/usr/file")
		if isRoot() {
			if out := s.user.run("unshare", "--map-auto", "--map-root-user", "cut", "-c", "1-50", "/proc/self/uid_map"); strings.Count(out, "\n") != 1 {
				return fmt.Errorf("the user's ids are %s", out)
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.told())
	}
}

func TestTheOutsideIsReached(t *testing.T) {
	s := stageOf(t, part{})
	err := s.perform(cell{run: func(s *stage) error {
		for _, url := range []string{"http://web.example.test/", "http://" + s.addr("WEB4") + "/"} {
			if out := s.user.run("curl", "-sS", "--max-time", "10", url); out != "hello from the internet" {
				return fmt.Errorf("%s says %q", url, out)
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.told())
	}
}

func TestACommandThatFailsFailsTheCellWithWhatItSaid(t *testing.T) {
	s := stageOf(t, part{})
	went := false
	err := s.perform(cell{run: func(s *stage) error {
		for range 3 {
			s.user.try("sh", "-c", "echo again; exit 3")
		}
		s.user.run("sh", "-c", "echo out; echo because >&2; exit 7")
		went = true
		return nil
	}})
	if err == nil || !strings.Contains(err.Error(), "exit status 7: because") || went {
		t.Errorf("the cell ended with %v, went on: %v", err, went)
	}
	told := s.told()
	for _, want := range []string{"echo again; exit 3    [exit status 3]    (3 times)", "exit 7    [exit status 7]", "    out\n    because\n"} {
		if !strings.Contains(told, want) {
			t.Errorf("the journal lacks %q:\n%s", want, told)
		}
	}
}

func TestACellThatHangsIsEndedAndTold(t *testing.T) {
	s := stageOf(t, part{})
	begin := time.Now()
	err := s.perform(cell{limit: 300 * time.Millisecond, run: func(s *stage) error {
		s.user.run("sh", "-c", "echo it began; exec sleep 1000")
		return nil
	}})
	if err == nil || !strings.Contains(err.Error(), "not done in 300ms") {
		t.Errorf("the cell ended with %v", err)
	}
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("that took %v", took)
	}
	if !strings.Contains(s.told(), "it began") {
		t.Errorf("the journal lacks what was said:\n%s", s.told())
	}
	if err := s.perform(cell{run: func(s *stage) error { s.user.run("true"); return nil }}); err != nil {
		t.Errorf("the next cell: %v", err)
	}
}

func TestWhatACellStartsEndsWithIt(t *testing.T) {
	s := stageOf(t, part{})
	var child string
	err := s.perform(cell{run: func(s *stage) error {
		p := s.user.start("sh", "-c", "sleep 1000 & echo child $!.; wait")
		p.expect(".")
		_, child, _ = strings.Cut(strings.TrimSpace(p.said()), " ")
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	child = strings.TrimSuffix(child, ".")
	err = s.perform(cell{run: func(s *stage) error {
		s.wait("the end of process "+child, func() error {
			if r := s.root.try("kill", "-0", child); r.Code == 0 {
				return errors.New("it runs")
			}
			return nil
		})
		return nil
	}})
	if err != nil {
		t.Error(err)
	}
}

func TestAPartThatCannotBePreparedSaysWhy(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(bin, 0o755)); err != nil {
		t.Fatal(err)
	}
	r := playPart(filepath.Join(dir, "part"), bin, part{name: "p", cells: []cell{{feature: "f", needs: []string{"sh"}, run: nothing}},
		setup: func(s *stage) error { s.user.sh("echo no oven >&2; exit 1"); return nil }})
	if len(r.Cells) != 1 || r.Cells[0].Result != resultFailed || !strings.Contains(r.Cells[0].Reason, "no oven") {
		t.Errorf("the cells say %+v", r.Cells)
	}
	r = playPart(filepath.Join(dir, "other"), bin, part{name: "p", cells: []cell{{feature: "f", needs: []string{"sh"}, run: nothing}},
		setup: func(s *stage) error { s.skip("no kitchen"); return nil }})
	if len(r.Cells) != 1 || r.Cells[0].Result != resultLeftOut || r.Cells[0].Reason != "no kitchen" {
		t.Errorf("the cells of a part that leaves itself out say %+v", r.Cells)
	}
}

func TestFoldersOfKilledRunsAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dead, lock, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	alive, kept, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	lock.Close() // as the kernel does with a killed process
	_, third, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	third.Close()
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of a run that is over is there: %v", err)
	}
	if _, err := os.Stat(alive); err != nil {
		t.Errorf("the folder of a run that goes on: %v", err)
	}
}
