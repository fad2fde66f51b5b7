package slirp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/buildinfo"
)

// Name is what the program is called to be this.
const Name = "slirp4netns"

// logVariable says how much is logged, as slog's levels.
const logVariable = "FOOTBRIDGE_LOG_LEVEL"

// Main is the program, with a command line without its name. It returns the exit code, or
// ends by the signal that it was sent.
func Main(args []string) int {
	c, err := Parse(Name, args)
	for _, line := range c.Said {
		fmt.Println(line)
	}
	switch {
	case err != nil:
		return complain(os.Stdout, os.Stderr, err)
	case c.Show == "help":
		fmt.Print(usage(Name))
		return 0
	case c.Show == "version":
		fmt.Print(version(buildinfo.Get()))
		return 0
	}
	// A caller that has gone is known by its descriptors, not by what is written.
	signal.Ignore(unix.SIGPIPE)
	stop, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	go func() { cancel(signalled{(<-signals).(syscall.Signal)}) }()

	ctx, done := context.WithTimeout(stop, startTime)
	defer done()
	r := &runner{o: &c.Options, plan: NewPlan(c.CIDR), out: os.Stdout, err: os.Stderr, log: newLog(os.Stderr)}
	err = r.run(ctx, stop)
	var s signalled
	if errors.As(err, &s) {
		return s.end()
	}
	return complain(os.Stdout, os.Stderr, err)
}

func newLog(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(os.Getenv(logVariable))); err != nil {
		level = slog.LevelWarn
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// complain says what went wrong, and gives the exit code.
func complain(out, errs io.Writer, err error) int {
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(errs, text)
	}
	var u *usageError
	if errors.As(err, &u) && u.usage {
		fmt.Fprint(out, usage(Name))
	}
	return 1
}

// signalled is the end by a signal.
type signalled struct{ syscall.Signal }

func (s signalled) Error() string { return "ended by " + s.String() }

// signalTime is how long a signal of the process to itself may take.
const signalTime = time.Second

// end ends the process by the signal, as whoever has sent it expects.
func (s signalled) end() int {
	signal.Reset(s.Signal)
	if unix.Kill(os.Getpid(), s.Signal) == nil {
		<-time.After(signalTime) // it may reach another thread first
	}
	return 128 + int(s.Signal) // it was ignored when the process was started
}
