package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const (
	idleVariable  = "FOOTBRIDGE_IDLE_TIMEOUT"
	levelVariable = "FOOTBRIDGE_LOG_LEVEL"
)

// daemonName is what a daemon calls itself in the lists of processes.
const daemonName = "footbridge"

type daemonOptions struct {
	idleTimeout time.Duration
	logLevel    string
	ability     bool
	configFile  string
	settings    daemonSettings // the flags', with the file's after complete
}

func daemonCommand(c *cli) *cobra.Command {
	var o daemonOptions
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Run the daemon in the foreground, or ask after it",
		Long: `Run the daemon in the foreground, or ask after it.

There is one daemon a user. The first command that needs it starts it in the
background, and it ends by itself when there has been nothing to do for a while,
so this command is for service managers and for watching it work. systemd may start
it on a connection (a .socket unit), be told when it is ready (Type=notify), and keep
its descriptors while it is restarted (FileDescriptorStoreMax=).

Its configuration is $XDG_CONFIG_HOME/footbridge/footbridge.toml, usually
~/.config/footbridge/footbridge.toml, with the flags' names as keys; it is read at the
start.`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd, c) },
	}
	cmd.Flags().DurationVar(&o.idleTimeout, "idle-timeout", defaultIdleTimeout,
		"End after this long without running containers and requests; 0 never (environment: "+idleVariable+")")
	cmd.Flags().StringVar(&o.logLevel, "log-level", "warn",
		"How much to log: debug, info, warn or error (environment: "+levelVariable+")")
	cmd.Flags().StringVar(&o.configFile, "config-file", "", "Configuration to read instead of the usual one")
	o.settings.register(cmd.Flags())
	cmd.Flags().BoolVar(&o.ability, abilityFlag, false, "Say what this program can take over from a daemon, and end")
	_ = cmd.Flags().MarkHidden(abilityFlag)
	cmd.AddCommand(daemonStatusCommand(c), daemonStopCommand(c), daemonUpgradeCommand(c))
	return cmd
}

// run prepares the daemon and tells whoever started it how that went.
func (o *daemonOptions) run(cmd *cobra.Command, c *cli) error {
	if o.ability {
		if err := o.complete(cmd, c); err != nil {
			return err
		}
		return sayAbility(c.stdout)
	}
	ready, err := readyPipe(c.getenv(readyVariable))
	if err != nil {
		return err
	}
	defer ready.Close()
	err = o.prepare(cmd, c)
	if err == nil {
		err = o.serve(cmd.Context(), c, func(notices []string) {
			text := readyWord
			for _, notice := range notices {
				text += oneLine(notice) + "\n"
			}
			_, _ = io.WriteString(ready, text)
		})
	}
	if errors.Is(err, errAnotherDaemon) && ready.File != nil {
		// Whoever started us wanted a daemon, and there is one.
		_, _ = io.WriteString(ready, readyWord)
		return nil
	}
	if err != nil {
		_, _ = fmt.Fprintln(ready, err)
	}
	return err
}

// complete takes from the environment and the configuration what the flags leave open,
// and checks it.
func (o *daemonOptions) complete(cmd *cobra.Command, c *cli) error {
	path := o.configFile
	if path == "" {
		path = configPath(c.getenv)
	}
	file, err := readSettings(path, o.configFile != "")
	if err != nil {
		return err
	}
	for flag, value := range map[string]string{"idle-timeout": file.IdleTimeout, "log-level": file.LogLevel} {
		if f := cmd.Flags().Lookup(flag); value != "" && f.Changed {
			return fmt.Errorf("%w: the following directives are specified both as a flag and in the configuration file: %s: (from flag: %s, from file: %s)", errSettings, flag, f.Value, value)
		}
	}
	idle, level := cmp.Or(c.getenv(idleVariable), file.IdleTimeout), cmp.Or(c.getenv(levelVariable), file.LogLevel)
	if idle != "" && !cmd.Flags().Changed("idle-timeout") {
		d, err := time.ParseDuration(idle)
		if err != nil || d < 0 {
			return fmt.Errorf("%s is not a duration such as 5m or 90s: look at %s and at idle-timeout in the configuration", idle, idleVariable)
		}
		o.idleTimeout = d
	}
	if level != "" && !cmd.Flags().Changed("log-level") {
		o.logLevel = level
	}
	if err := o.settings.join(file); err != nil {
		return err
	}
	config := o.settings.config()
	if err := config.Check(); err != nil {
		return err
	}
	_, err = o.level()
	return err
}

func (o *daemonOptions) level() (level slog.Level, err error) {
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return level, fmt.Errorf("invalid log level %q: it is debug, info, warn or error", o.logLevel)
	}
	return level, nil
}

// prepare completes the options and sets up the process.
func (o *daemonOptions) prepare(cmd *cobra.Command, c *cli) error {
	if err := o.complete(cmd, c); err != nil {
		return err
	}
	// Started through /proc/self/exe the program would be called "exe" in the
	// lists of processes and listeners. Only a name: a failure is no harm.
	_ = os.WriteFile("/proc/self/comm", []byte(daemonName), 0)
	// The soft limit of open files is raised already: Go's start does it, and
	// gives the processes that are started the limit that was. Doing it here
	// would make that forgotten, and containers would get the daemon's limit.
	return nil
}

// readyFile is where a daemon says how its start went; without a File, what is
// written goes nowhere.
type readyFile struct{ *os.File }

func (r readyFile) Write(b []byte) (int, error) {
	if r.File == nil {
		return len(b), nil
	}
	defer r.File.Close() // there is one thing to say
	return r.File.Write(b)
}

func (r readyFile) WriteString(s string) (int, error) { return r.Write([]byte(s)) }

func (r readyFile) Close() error {
	if r.File == nil {
		return nil
	}
	return r.File.Close()
}

// readyPipe opens the descriptor that was passed in the environment.
func readyPipe(text string) (readyFile, error) {
	if text == "" {
		return readyFile{}, nil
	}
	_ = os.Unsetenv(readyVariable)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return readyFile{}, fmt.Errorf("%s=%s is not a file descriptor", readyVariable, text)
	}
	// What the daemon starts must not keep the pipe open.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return readyFile{}, fmt.Errorf("%s=%s: %w", readyVariable, text, err)
	}
	return readyFile{os.NewFile(uintptr(fd), "ready")}, nil
}
