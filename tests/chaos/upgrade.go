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
	hit := load.Now()
	if _, err = c.stage.Footbridge(args...); err != nil {
		c.stage.Binary = from
		return hit, err
	}
	c.stage.Binary = to
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
	return hit, nil
}

// downgrade makes the daemon the binary under test again.
func (c *chaos) downgrade() error {
	status, err := c.stage.Status()
	if err != nil || status.Version != otherVersion {
		return err
	}
	_, err = c.stage.Footbridge("daemon", "upgrade", "--binary", world.Binary())
	c.stage.Binary = ""
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
