package tests

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/footbridge-net/footbridge/tests/world"
)

func TestMain(m *testing.M) {
	world.Dispatch()
	os.Exit(start(m))
}

// scriptsPerCPU is how many scripts run at once for each CPU; more gave no shorter run on two CPUs.
const scriptsPerCPU = 3

// start runs the tests as an ordinary user, after what needs the source tree.
func start(m *testing.M) int {
	flag.Parse()
	// Scripts wait more than they work: by default more of them at once than there are CPUs.
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		flag.Set("test.parallel", strconv.Itoa(scriptsPerCPU*runtime.GOMAXPROCS(0)))
	}
	folders := []string{"scripts"}
	if world.Stage() == "" {
		root, err := filepath.Abs("..")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := checkTree(root); err != nil {
			os.Setenv(treeVariable, err.Error())
		}
		if err := checkThreatModel(root); err != nil {
			os.Setenv(modelVariable, err.Error())
		}
		if err := checkCompatibility(root); err != nil {
			os.Setenv(compatibilityVariable, err.Error())
		}
		temporary, err := os.MkdirTemp("", "footbridge-other")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(temporary)
		other := filepath.Join(temporary, "other")
		if err := world.Build(filepath.Join(other, "footbridge"), "-ldflags=-X "+module+"internal/buildinfo.version=99.0.0"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		folders = append(folders, other)
	}
	return world.Main(folders, m.Run)
}

func TestScripts(t *testing.T) {
	writeOutLoops(t)
	testscript.Run(t, testscript.Params{
		Dir:                "scripts",
		Setup:              setUp,
		Cmds:               scriptCommands,
		RequireUniqueNames: true,
	})
}

// setUp gives a script its world and its environment.
func setUp(env *testscript.Env) error {
	// A script chooses another world by an empty file of that name.
	chosen := func(name string) bool {
		_, err := os.Stat(filepath.Join(env.WorkDir, name))
		return err == nil
	}
	w, err := world.Start(world.Options{
		Footbridge: world.Binary(), Share: world.SharedFolders(),
		NoPing: chosen("world-without-ping"), Routers: chosen("world-with-routers"),
	})
	if err != nil {
		return err
	}
	stage := &scriptStage{world: w, background: make(map[string]*job)}
	stage.snapshots = map[string]world.Snapshot{"start": w.Snapshot()}
	env.Defer(func() {
		stage.examine(env.T())
		w.Close()
	})
	env.Values[stageKey{}] = stage
	work := env.WorkDir
	env.Vars = append(w.Environ(), "WORK="+work, "TOOLS="+filepath.Join(world.Stage(), "scripts", "tools"),
		"OTHER="+filepath.Join(world.Stage(), "other", "footbridge"), "devnull=/dev/null", "FOOTBRIDGE_IDLE_TIMEOUT=", "/=/", ":=:", "$=$", "exe=")
	for _, v := range env.Vars {
		name, _, _ := strings.Cut(v, "=")
		if len(name) > 1 {
			stage.variables = append(stage.variables, name)
		}
	}
	return nil
}

// disasters are lines that no log of a daemon may hold, whatever a script has asked of it.
var disasters = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: ).*`)

// examine looks at the daemon's log at the end of a script: for what may never be there, and to help with a failure.
func (s *scriptStage) examine(t testscript.T) {
	test, ok := t.(interface {
		Failed() bool
		Errorf(format string, args ...any)
	})
	if !ok {
		return
	}
	log := s.world.Run(world.Host, "sh", "-c", "cat $XDG_RUNTIME_DIR/footbridge/daemon.log 2>/dev/null").Stdout
	if disaster := disasters.FindString(log); disaster != "" {
		test.Errorf("the daemon's log says %q", disaster)
	}
	if test.Failed() {
		t.Log("what the daemon says:\n" + log + s.world.Run(world.Host, "timeout", "10", "footbridge", "ps", "-a").Stdout)
	}
}

// writeOutLoops writes the loops of all scripts out, in this run's copy of them: testscript has none.
func writeOutLoops(t *testing.T) {
	t.Helper()
	scripts, err := filepath.Glob("scripts/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("there are no scripts: %v", err)
	}
	for _, path := range scripts {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := unroll(string(text))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if err := os.WriteFile(path, []byte(plain), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// unroll writes the lines between "for-each NAME VALUE..." and "done" once for each value.
func unroll(text string) (string, error) {
	var out, block []string
	var name string
	var values []string
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) > 0 && words[0] == "for-each":
			if name != "" || len(words) < 3 {
				return "", fmt.Errorf("%q: a loop has a name and values, and no loop inside", line)
			}
			name, values, block = words[1], words[2:], nil
		case len(words) == 1 && words[0] == "done" && name != "":
			variable := regexp.MustCompile(`\$` + name + `\b`)
			for _, value := range values {
				for _, l := range block {
					out = append(out, variable.ReplaceAllLiteralString(l, value))
				}
			}
			name = ""
		case name != "":
			block = append(block, line)
		default:
			out = append(out, line)
		}
	}
	if name != "" {
		return "", fmt.Errorf("the loop over %s has no end", name)
	}
	return strings.Join(out, "\n"), nil
}

func TestLoopsAreWrittenOut(t *testing.T) {
	got, err := unroll("a\nfor-each X 1 $Y\nb $X $XY\nc\ndone\nd")
	if want := "a\nb 1 $XY\nc\nb $Y $XY\nc\nd"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := unroll("for-each X 1\nb"); err == nil {
		t.Error("a loop without an end is no error")
	}
}

type stageKey struct{}

// scriptStage is what the commands of one script share.
type scriptStage struct {
	world      *world.World
	variables  []string // names of the environment variables that commands get
	background map[string]*job
	snapshots  map[string]world.Snapshot
}

func stageOf(ts *testscript.TestScript) *scriptStage { return ts.Value(stageKey{}).(*scriptStage) }

// environ is the script's environment as its commands get it.
func (s *scriptStage) environ(ts *testscript.TestScript) []string {
	env := make([]string, 0, len(s.variables))
	for _, name := range s.variables {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}
