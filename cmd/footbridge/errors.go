package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/internal/visible"
)

// Exit codes, as Docker's.
const (
	exitFailure       = 1   // a command failed
	exitNotRunning    = 3   // daemon status: there is none (as systemctl's)
	exitTemplate      = 64  // inspect: a template that cannot be parsed
	exitUsage         = 125 // flags that cannot be parsed, or run failed before the command
	exitNotExecutable = 126 // the command was found and could not be executed
	exitNotFound      = 127 // the command was not found
	exitKilled        = 137 // the command ended by SIGKILL, or with its container
)

// statusError ends the program with code. A nil err ends it without a word:
// everything there is to say has been said.
type statusError struct {
	code  int
	err   error
	whole bool // err's text is printed as it is, without a prefix
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

// exitCodeOf returns the code that err ends the program with.
func exitCodeOf(err error) int {
	if err == nil {
		return 0
	}
	var status *statusError
	if errors.As(err, &status) {
		return status.code
	}
	return exitFailure
}

// errorText returns what is printed for err, without a newline at the end;
// empty if there is nothing to say. It may repeat wrong words of the command line: what
// would be a command of the terminal there is shown instead.
func errorText(err error) string {
	var status *statusError
	var several manyErrors
	switch {
	case errors.As(err, &status) && status.err == nil:
		return ""
	case errors.As(err, &status) && status.whole:
		return visible.Prose(strings.TrimRight(err.Error(), "\n"))
	case errors.As(err, &several):
		lines := make([]string, len(several))
		for i, one := range several {
			lines[i] = errorText(one)
		}
		return strings.Join(lines, "\n")
	}
	return visible.Prose("footbridge: " + strings.TrimRight(err.Error(), "\n"))
}

// runHelpError is an error of run: it points at the command's help.
func runHelpError(cmd *cobra.Command, code int, err error) error {
	return &statusError{code: code, whole: true, err: fmt.Errorf("footbridge: %w\n\nRun '%s --help' for more information", err, cmd.CommandPath())}
}

// usageError is an error in the shape of the command line: it shows the right one.
func usageError(cmd *cobra.Command, code int, format string, args ...any) error {
	return &statusError{code: code, whole: true, err: fmt.Errorf("%s\n\nUsage:  %s\n\nRun '%s --help' for more information",
		fmt.Sprintf(format, args...), cmd.UseLine(), cmd.CommandPath())}
}

// noArgs, exactArgs and minArgs check the number of arguments, in Docker's words.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError(cmd, exitFailure, "footbridge: '%s' accepts no arguments", cmd.CommandPath())
}

func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usageError(cmd, exitFailure, "footbridge: '%s' requires %s", cmd.CommandPath(), arguments(n))
	}
}

func minArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return usageError(cmd, exitFailure, "footbridge: '%s' requires at least %s", cmd.CommandPath(), arguments(n))
	}
}

func rangeArgs(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if low <= len(args) && len(args) <= high {
			return nil
		}
		return usageError(cmd, exitFailure, "footbridge: '%s' requires at least %d and at most %s",
			cmd.CommandPath(), low, arguments(high))
	}
}

func arguments(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

// manyErrors are the failures of a command that went on after each of them.
type manyErrors []error

func (m manyErrors) Error() string { return errors.Join(m...).Error() }

func (m manyErrors) Unwrap() []error { return m }

// each calls do for every name and goes on after failures; any of them makes
// the command fail.
func each(names []string, do func(name string) error) error {
	var failed manyErrors
	for _, name := range names {
		if err := do(name); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return failed
}
