package plugin

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// startOutside starts the daemon from inside a runtime's user namespace: by the user's
// service manager, which is outside, and which whoever has the user's uid may ask.
func startOutside(ctx context.Context, o Options) error {
	base := o.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(base) {
		return errors.New("there is no XDG_RUNTIME_DIR")
	}
	if _, err := os.Stat(filepath.Join(base, "systemd/private")); err != nil {
		return err
	}
	program, err := o.commandLine()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	// The unit that is installed, if it is; else one for this time. Whatever the daemon has
	// started goes on when it ends.
	var failed error
	for _, args := range [][]string{
		{"systemctl", "--user", "--quiet", "start", "footbridge.service"},
		{"systemd-run", "--user", "--quiet", "--collect", "--service-type=notify", "--unit=footbridge-once", "-p", "KillMode=process", program, "daemon"},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env, cmd.Dir = environment(os.Environ()), "/"
		if err := cmd.Run(); err == nil {
			return nil
		} else {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
