package main

import (
	"path/filepath"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

// upgradeDelay is how long a frame may be under way while the daemon becomes another program.
const upgradeDelay = 200 * time.Millisecond

// otherBinary is the binary with the other version.
func otherBinary() string { return filepath.Join(world.Stage(), other, "footbridge") }

// upgrade goes to the other binary and, the next time, back.
func (c *chaos) upgrade(r *row) (time.Duration, error) {
	before, err := c.stage.Status()
	if err != nil {
		return 0, err
	}
	if before.Worker.PID == 0 {
		return 0, errNoWorker
	}
	from, to := c.stage.Binary, otherBinary()
	if before.Version == otherVersion {
		to = world.Binary()
	}
	args := []string{"daemon", "upgrade", "--binary", to}
	if r.tried%4 > 1 {
		// As after an installation: the new program itself asks the old daemon.
		c.stage.Binary = to
		args = args[:2]
	}
	if _, err = c.stage.Footbridge(args...); err != nil {
		c.stage.Binary = from
		return 0, err
	}
	c.stage.Binary = to
	// Flows that end in the worker end with it, some time before now.
	hit := load.Now()
	after, err := c.stage.Status()
	if err != nil {
		return hit, err
	}
	if (after.Version == otherVersion) != (to == otherBinary()) {
		r.lose("after the upgrade to %s the daemon has version %s", to, after.Version)
	}
	if after.PID != before.PID {
		r.lose("after the upgrade the daemon is process %d and was %d", after.PID, before.PID)
	}
	if after.Worker.PID == before.Worker.PID {
		r.lose("after the upgrade the worker is the old one")
	}
	return hit, c.compareUpgraded(r, after.PID)
}

// compareUpgraded says what a daemon has gathered from upgrade to upgrade. The first one is compared with none: it was
// started by a command, and has what such a daemon has.
func (c *chaos) compareUpgraded(r *row, pid int) error {
	sample, err := c.stage.Admin.Process(pid)
	if err != nil {
		return err
	}
	if c.upgraded == nil {
		c.upgraded = sample.Files
		return nil
	}
	for _, line := range load.Differences(c.upgraded, sample.Files) {
		if more(line) {
			r.lose("descriptors of the upgraded daemon: %s", line)
		}
	}
	return nil
}

// downgrade makes the daemon the binary under test again, and one that a command has started.
func (c *chaos) downgrade() error {
	status, err := c.stage.Status()
	if err != nil {
		return err
	}
	if status.Version == otherVersion {
		if _, err := c.stage.Footbridge("daemon", "upgrade", "--binary", world.Binary()); err != nil {
			return err
		}
	}
	c.stage.Binary = ""
	if _, err := c.stage.Footbridge("daemon", "stop"); err != nil {
		return err
	}
	_, err = c.stage.Footbridge("ps")
	return err
}

// upgradeBroken asks for what must be refused.
func (c *chaos) upgradeBroken(r *row) (time.Duration, error) {
	before, err := c.stage.Status()
	if err != nil {
		return 0, err
	}
	if before.Worker.PID == 0 {
		return 0, errNoWorker
	}
	hit := load.Now()
	for _, binary := range []string{filepath.Join(world.Stage(), broken, "footbridge"), "/bin/true", "/dev/null", world.Stage(), "/nowhere"} {
		args := []string{"daemon", "upgrade", "--binary", binary}
		result := c.stage.Try(args...)
		c.judgeCommand(r, args, result)
		if result.Code == 0 {
			r.lose("an upgrade to %s succeeded", binary)
		}
	}
	after, err := c.stage.Status()
	if err != nil {
		return hit, err
	}
	if after.PID != before.PID || after.Worker.PID != before.Worker.PID || after.StartedAt != before.StartedAt {
		r.lose("a refused upgrade changed the processes: %d and %d became %d and %d", before.PID, before.Worker.PID, after.PID, after.Worker.PID)
	}
	return hit, nil
}
