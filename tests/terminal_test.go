package tests

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/footbridge-net/footbridge/tests/world"
)

// terminalCommand runs a command on a terminal of 80 columns and 24 rows and holds a dialog with it, from a file:
//
//	expect TEXT       wait until TEXT is printed, after what was expected before
//	never TEXT        TEXT has not been printed so far
//	send TEXT         type TEXT and return
//	key C-c           type one key: C-a to C-z, C-\
//	resize COLS ROWS  change the window's size
//	hangup            close the terminal
//	end STATUS        wait until the command ends with this exit status; the last line
func terminalCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) >= 2, "terminal DIALOG COMMAND...")
	master, tty, err := pty.Open()
	ts.Check(err)
	defer master.Close()
	ts.Check(pty.Setsize(master, &pty.Winsize{Cols: 80, Rows: 24}))
	c := prepare(ts, args[1:])
	c.Stdin, c.Stdout, c.Stderr, c.TTY = tty, tty, tty, true
	err = c.Start()
	tty.Close()
	ts.Check(err)
	screen := new(lockedBuffer)
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			screen.Write(b[:n])
			if err != nil {
				return
			}
		}
	}()
	d := &dialog{master: master, screen: screen, cmd: c}
	defer c.Kill()
	for i, line := range strings.Split(ts.ReadFile(args[0]), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		if err := d.step(line); err != nil {
			ts.Fatalf("%s:%d: %v; the terminal shows:\n%s", args[0], i+1, err, screen)
		}
	}
	if !d.ended {
		ts.Fatalf("%s: the dialog does not say how the command ends", args[0])
	}
	show(ts, screen.String(), "")
}

// dialog is a conversation on a terminal.
type dialog struct {
	master *os.File
	screen *lockedBuffer
	seen   int // how much of the screen was expected already
	cmd    *world.Cmd
	ended  bool
}

func (d *dialog) step(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "expect":
		if !world.Poll(patience, func() bool {
			at := strings.Index(d.screen.String()[d.seen:], rest)
			if at >= 0 {
				d.seen += at + len(rest)
			}
			return at >= 0
		}) {
			return fmt.Errorf("waited %v for %q", patience, rest)
		}
	case "never":
		if strings.Contains(d.screen.String(), rest) {
			return fmt.Errorf("%q was printed", rest)
		}
	case "send":
		_, err := d.master.WriteString(rest + "\r")
		return err
	case "key":
		if len(rest) != 3 || !strings.HasPrefix(rest, "C-") {
			return fmt.Errorf("%q is not a key such as C-c", rest)
		}
		_, err := d.master.Write([]byte{rest[2] & 0x1f})
		return err
	case "resize":
		var size pty.Winsize
		if _, err := fmt.Sscan(rest, &size.Cols, &size.Rows); err != nil {
			return fmt.Errorf("%q is not a number of columns and one of rows: %w", rest, err)
		}
		return pty.Setsize(d.master, &size)
	case "hangup":
		return d.master.Close()
	case "end":
		want, err := strconv.Atoi(rest)
		if err != nil {
			return fmt.Errorf("%q is not an exit status: %w", rest, err)
		}
		timer := time.AfterFunc(patience, d.cmd.Kill)
		code, err := d.cmd.Wait()
		d.ended = true
		if !timer.Stop() {
			return fmt.Errorf("waited %v for the end", patience)
		}
		if err != nil {
			return err
		}
		if code != want {
			return fmt.Errorf("the command ended with exit status %d, not %d", code, want)
		}
	default:
		return fmt.Errorf("%q is not a word of a dialog", word)
	}
	return nil
}
