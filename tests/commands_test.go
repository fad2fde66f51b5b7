package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/footbridge-net/footbridge/tests/world"
)

// patience is how long a script waits for what another process does, unless it says otherwise. It is far above
// what anything takes, for machines with many tests at once.
const patience = 20 * time.Second

// scriptCommands are the words of scripts, besides testscript's own (stdout, stderr, cmp, env, cd, ...):
//
//	footbridge ARG...             the program under test, as the host's user
//	host COMMAND...               a command of the host's user
//	admin COMMAND...              a command on the host that holds the world's capabilities
//	client COMMAND...             a command on the remote client
//	internet COMMAND...           a command on the internet's machine
//
// Each of them must succeed, or fail after "!". With a last word &NAME& it goes on in the background.
//
//	status N COMMAND...           the command above ends with exactly this exit status
//	output REGEXP COMMAND...      the command above succeeds and prints this (polled, as wait-for)
//	wait-for [!] COMMAND...       the command above succeeds (or fails) sooner or later: polled, with a deadline
//	attempt COMMAND...            the command above ends, well or not
//	within DURATION COMMAND...    the command above ends, as it may, before that time is over
//	background-output NAME REGEXP wait until a command in the background has printed this
//	signal NAME SIGNAL            send INT, TERM, KILL, HUP, ... to a command in the background
//	finish NAME STATUS            wait for a command in the background, which ends with this status
//	terminal DIALOG COMMAND...    the command above on a terminal, see terminalCommand
//	json PATH VALUE               the last output is JSON with this value at PATH, as in 0.IPAM.Config.0.Subnet
//	capture NAME                  the last output without its last newline becomes an environment variable
//	snapshot NAME                 remember the host's processes, listeners, files, mounts and links
//	nothing-since NAME [KIND...]  nothing (of these kinds: process, tcp, udp, unix, file, mount, link) has come
//	                              since (polled); "start" is before the script's first line
//
// Between "for-each NAME VALUE..." and "done" lines are written once for each value, in which $NAME stands for it.
var scriptCommands map[string]func(*testscript.TestScript, bool, []string)

func init() {
	scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
		"status": statusCommand, "output": outputCommand, "wait-for": waitForCommand, "within": withinCommand,
		"attempt":           attemptCommand,
		"background-output": backgroundOutputCommand, "signal": signalCommand, "finish": finishCommand,
		"terminal": terminalCommand, "json": jsonCommand, "capture": captureCommand,
		"snapshot": snapshotCommand, "nothing-since": nothingSinceCommand,
	}
	for word := range places {
		scriptCommands[word] = func(ts *testscript.TestScript, neg bool, args []string) {
			args = append([]string{word}, args...)
			if name, ok := backgroundName(args[len(args)-1]); ok {
				startJob(ts, name, args[:len(args)-1])
				return
			}
			code := runLine(ts, args)
			if neg == (code == 0) {
				ts.Fatalf("%s ended with exit status %d", strings.Join(args, " "), code)
			}
		}
	}
}

// places says where each word's command runs.
var places = map[string]world.Place{
	"footbridge": world.Host, "host": world.Host, "admin": world.Admin, "client": world.Client, "internet": world.Internet,
}

// prepare makes the command that a line of a script stands for.
func prepare(ts *testscript.TestScript, line []string) *world.Cmd {
	if len(line) == 0 {
		ts.Fatalf("no command given")
	}
	place, ok := places[line[0]]
	if !ok {
		ts.Fatalf("%q is not one of footbridge, host, admin, client, internet", line[0])
	}
	s := stageOf(ts)
	args := line[1:]
	if line[0] == "footbridge" {
		args = append([]string{world.Binary()}, args...)
	}
	c := s.world.Command(place, args...)
	c.Env, c.Dir = s.environ(ts), ts.MkAbs(".")
	return c
}

// perform runs a line and returns its outputs and exit status, 127 for a program that does not exist.
func perform(ts *testscript.TestScript, line []string) (stdout, stderr string, code int) {
	c := prepare(ts, line)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	code, err := c.Run()
	if err != nil {
		fmt.Fprintln(&errs, err)
		if code == 0 {
			code = -1
		}
	}
	return out.String(), errs.String(), code
}

// runLine runs a line whose outputs become the script's last ones.
func runLine(ts *testscript.TestScript, line []string) int {
	out, errs, code := perform(ts, line)
	show(ts, out, errs)
	return code
}

func show(ts *testscript.TestScript, out, errs string) {
	fmt.Fprint(ts.Stdout(), out)
	fmt.Fprint(ts.Stderr(), errs)
}

func usage(ts *testscript.TestScript, neg bool, ok bool, text string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", text)
	}
}

func statusCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) >= 2, "status N COMMAND...")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if code := runLine(ts, args[1:]); code != want {
		ts.Fatalf("%s ended with exit status %d, not %d", strings.Join(args[1:], " "), code, want)
	}
}

func outputCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) >= 2, "output REGEXP COMMAND...")
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var out, errs string
	var code int
	ok := world.Poll(patience, func() bool {
		out, errs, code = perform(ts, args[1:])
		return code == 0 && want.MatchString(out)
	})
	show(ts, out, errs)
	if !ok {
		ts.Fatalf("waited %v for %s to print %q; exit status %d", patience, strings.Join(args[1:], " "), args[0], code)
	}
}

func waitForCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) > 0 && args[0] == "!" {
		neg, args = true, args[1:]
	}
	usage(ts, false, len(args) >= 1, "wait-for [!] COMMAND...")
	var out, errs string
	var code int
	ok := world.Poll(patience, func() bool {
		out, errs, code = perform(ts, args)
		return (code == 0) != neg
	})
	show(ts, out, errs)
	if !ok {
		ts.Fatalf("waited %v for %s; exit status %d", patience, strings.Join(args, " "), code)
	}
}

func attemptCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) >= 1, "attempt COMMAND...")
	runLine(ts, args)
}

func withinCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) >= 2, "within DURATION COMMAND...")
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	begin := time.Now()
	runLine(ts, args[1:])
	if took := time.Since(begin); took > limit {
		ts.Fatalf("%s took %v, over %v", strings.Join(args[1:], " "), took.Round(time.Millisecond), limit)
	}
}

// job is a command in the background.
type job struct {
	cmd *world.Cmd
	out *lockedBuffer
}

// lockedBuffer is written by a command and read by a script.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// String returns all that was written.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// backgroundName recognises the last word &NAME&.
func backgroundName(word string) (string, bool) {
	if len(word) > 2 && strings.HasPrefix(word, "&") && strings.HasSuffix(word, "&") {
		return word[1 : len(word)-1], true
	}
	return "", false
}

func startJob(ts *testscript.TestScript, name string, line []string) {
	j := &job{cmd: prepare(ts, line), out: new(lockedBuffer)}
	j.cmd.Stdout, j.cmd.Stderr = j.out, j.out
	ts.Check(j.cmd.Start())
	stageOf(ts).background[name] = j
}

func jobOf(ts *testscript.TestScript, name string) *job {
	j := stageOf(ts).background[name]
	if j == nil {
		ts.Fatalf("nothing named %q runs in the background", name)
	}
	return j
}

func backgroundOutputCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2, "background-output NAME REGEXP")
	j := jobOf(ts, args[0])
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	if !world.Poll(patience, func() bool { return want.MatchString(j.out.String()) }) {
		ts.Fatalf("waited %v for %s to print %q; it printed:\n%s", patience, args[0], args[1], j.out)
	}
}

var signals = map[string]syscall.Signal{
	"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP,
	"USR1": syscall.SIGUSR1, "QUIT": syscall.SIGQUIT, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
}

func signalCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2 && signals[args[1]] != 0, "signal NAME SIGNAL")
	ts.Check(jobOf(ts, args[0]).cmd.Signal(signals[args[1]]))
}

func finishCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2, "finish NAME STATUS")
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	j := jobOf(ts, args[0])
	timer := time.AfterFunc(patience, j.cmd.Kill)
	code, err := j.cmd.Wait()
	onTime := timer.Stop()
	show(ts, j.out.String(), "")
	ts.Check(err)
	if !onTime {
		ts.Fatalf("waited %v for %s to end", patience, args[0])
	}
	if code != want {
		ts.Fatalf("%s ended with exit status %d, not %d", args[0], code, want)
	}
	delete(stageOf(ts).background, args[0])
}

func jsonCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH VALUE")
	}
	got, err := jsonAt(ts.ReadFile("stdout"), args[0])
	if err != nil {
		if neg {
			return
		}
		ts.Fatalf("%v", err)
	}
	if (got == args[1]) == neg {
		ts.Fatalf("%s is %q, wanted %q", args[0], got, args[1])
	}
}

// jsonAt finds a value: words divided by dots are keys or, in a list, indexes. What is not a string is given as JSON.
func jsonAt(text, path string) (string, error) {
	var at any
	if err := json.Unmarshal([]byte(text), &at); err != nil {
		return "", fmt.Errorf("the last output is not JSON: %w", err)
	}
	for _, word := range strings.Split(path, ".") {
		switch v := at.(type) {
		case map[string]any:
			next, ok := v[word]
			if !ok {
				return "", fmt.Errorf("%s: there is no %q", path, word)
			}
			at = next
		case []any:
			i, err := strconv.Atoi(word)
			if err != nil || i < 0 || i >= len(v) {
				return "", fmt.Errorf("%s: %q is no index of a list of %d", path, word, len(v))
			}
			at = v[i]
		default:
			return "", fmt.Errorf("%s: nothing is below %q", path, word)
		}
	}
	if s, ok := at.(string); ok {
		return s, nil
	}
	b, err := json.Marshal(at)
	return string(b), err
}

func captureCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 1, "capture NAME")
	ts.Setenv(args[0], strings.TrimRight(ts.ReadFile("stdout"), "\n"))
	s := stageOf(ts)
	s.variables = append(s.variables, args[0])
}

func snapshotCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 1, "snapshot NAME")
	s := stageOf(ts)
	s.snapshots[args[0]] = s.world.Snapshot()
}

func nothingSinceCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) >= 1, "nothing-since NAME [KIND...]")
	s := stageOf(ts)
	earlier, ok := s.snapshots[args[0]]
	if !ok {
		ts.Fatalf("there is no snapshot %q", args[0])
	}
	var left []string
	if !world.Poll(patience, func() bool {
		left = slices.DeleteFunc(s.world.Snapshot().Since(earlier), func(line string) bool {
			kind, _, _ := strings.Cut(line, " ")
			return len(args) > 1 && !slices.Contains(args[1:], kind)
		})
		return len(left) == 0
	}) {
		ts.Fatalf("waited %v for nothing to be left since %q; there is:\n%s", patience, args[0], strings.Join(left, "\n"))
	}
}
