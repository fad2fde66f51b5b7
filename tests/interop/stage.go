package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// stage is the machine of one part, with its users and what lies around.
type stage struct {
	user     place // an ordinary user
	root     place // the machine's administrator; without root outside, of the user's own namespaces only
	client   place // another machine, which reaches the host as HOST4, HOST6
	internet place // everything behind the default route

	w    *world.World
	dir  string // of this part: the same path inside and outside
	bin  string // first in PATH: footbridge and its companions, what the part had built, links of link
	home string // the user's, the same path inside and outside

	mu       sync.Mutex
	journal  []entry    // what the cell ran and read
	running  []*process // of this cell
	over     bool       // the cell's time is up
	pictures pictures
	cgroup   string // of delegate, below the root of the control groups
	manager  *process
}

// failure travels through panic from the helpers that fail a cell at once.
type failure struct{ err error }

// newStage makes a machine; dir is a new folder of the part, bin the programs of all parts.
func newStage(dir, bin string, p part) (*stage, error) {
	s := &stage{dir: dir, bin: filepath.Join(dir, "bin"), home: filepath.Join(dir, "home")}
	if err := os.MkdirAll(s.home, 0o755); err != nil {
		return nil, err
	}
	if err := os.CopyFS(s.bin, os.DirFS(bin)); err != nil {
		return nil, fmt.Errorf("filling the folder of programs: %w", err)
	}
	if err := p.build(s.bin); err != nil {
		return nil, err
	}
	if isRoot() {
		if err := os.Chown(s.home, world.UID, world.UID); err != nil {
			return nil, err
		}
	}
	w, err := world.Start(world.Options{Root: isRoot(), Share: []string{dir}, Footbridge: filepath.Join(s.bin, "footbridge")})
	if err != nil {
		return nil, err
	}
	s.w = w
	stages.Store(s, true)
	env := slices.DeleteFunc(w.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HOME=") || strings.HasPrefix(v, "XDG_STATE_HOME=")
	})
	s.user = place{s: s, name: "user", at: world.Host, env: append(slices.Clone(env), "HOME="+s.home), dir: s.home}
	s.root = place{s: s, name: "root", at: world.Admin, env: append(slices.Clone(env), "HOME=/root", "USER=root", "LOGNAME=root"), dir: "/"}
	s.client = place{s: s, name: "client", at: world.Client, env: s.root.env, dir: "/"}
	s.internet = place{s: s, name: "internet", at: world.Internet, env: s.root.env, dir: "/"}
	if isRoot() {
		s.user.at = world.Admin
		s.user.prefix = []string{"setpriv", fmt.Sprintf("--reuid=%d", world.UID), fmt.Sprintf("--regid=%d", world.UID), "--clear-groups"}
		if err := s.guard(s.prepare); err != nil {
			s.close()
			return nil, fmt.Errorf("preparing the user: %w", err)
		}
	}
	if p.setup != nil {
		if err := s.within(setupLimit, func() error { return p.setup(s) }); err != nil {
			text := s.told()
			s.close()
			return nil, fmt.Errorf("preparing the part: %w\n%s", err, text)
		}
		// What was started now lives as long as the part.
		s.mu.Lock()
		s.running = nil
		s.mu.Unlock()
	}
	return s, nil
}

// prepare makes uid 1000 a user as an administrator would. All of it is the world's alone.
func (s *stage) prepare() error {
	s.root.sh(fmt.Sprintf(`
		chmod 755 /run/user
		chown -R 1000:1000 %[1]s
		echo user:100000:65536 >/etc/subuid
		echo user:100000:65536 >/etc/subgid
		sed -i 's|%[2]s|%[3]s|' /etc/passwd
	`, world.RuntimeDir, world.Home, s.home))
	return nil
}

// close ends everything in the world, and what no namespace ends.
func (s *stage) close() {
	if stages.CompareAndDelete(s, true) {
		s.removeCgroup()
		s.w.Close()
	}
}

// stages are those that are open: *stage -> true.
var stages sync.Map

// closeAll closes them, for whoever interrupts the run.
func closeAll() {
	stages.Range(func(s, _ any) bool {
		s.(*stage).close()
		return true
	})
}

// guard runs a function in which helpers may fail the cell.
func (s *stage) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			broken, ok := p.(failure)
			if !ok {
				panic(p)
			}
			err = broken.err
		}
	}()
	return f()
}

// fail ends the cell as failed.
func (s *stage) fail(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// skip ends the cell as left out.
func (s *stage) skip(format string, args ...any) { panic(failure{leftOut(format, args...)}) }

// perform runs one cell and ends what it has started.
func (s *stage) perform(c cell) error {
	limit := c.limit
	if limit == 0 {
		limit = cellLimit
	}
	err := s.within(limit, func() error { return c.run(s) })
	s.endAll()
	return err
}

// within runs a function with a new journal. When its time is up everything ends that it has started.
func (s *stage) within(limit time.Duration, f func() error) error {
	s.mu.Lock()
	s.journal, s.over = nil, false
	s.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- s.guard(f) }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
	}
	s.endAll()
	err := fmt.Errorf("not done in %v", limit)
	select {
	case late := <-done:
		return errors.Join(err, late)
	case <-time.After(10 * time.Second):
		return err
	}
}

// endAll ends what was started, and lets nothing new start.
func (s *stage) endAll() {
	s.mu.Lock()
	s.over = true
	list := s.running
	s.running = nil
	s.mu.Unlock()
	for _, p := range list {
		p.cmd.Kill()
	}
	patience := time.After(5 * time.Second)
	for _, p := range list {
		select {
		case <-p.ended: // and stands in the journal
		case <-patience:
			return
		}
	}
}

// entry is a command, or a remark, in the journal. Who polls says the same thing many times: those are counted.
type entry struct {
	title, text string
	times       int
	took        time.Duration
}

// enter writes into the journal, which is printed when the cell fails.
func (s *stage) enter(title, text string, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.journal); n > 0 && s.journal[n-1].title == title && s.journal[n-1].text == text {
		s.journal[n-1].times++
		s.journal[n-1].took += took
		return
	}
	s.journal = append(s.journal, entry{title, text, 1, took})
}

// told returns the journal, and the end of the daemon's log.
func (s *stage) told() string {
	var b strings.Builder
	s.mu.Lock()
	for _, e := range s.journal {
		b.WriteString(e.title)
		if e.times > 1 {
			fmt.Fprintf(&b, "    (%d times)", e.times)
		}
		if e.took > 0 {
			fmt.Fprintf(&b, "    (%v)", e.took.Round(time.Millisecond))
		}
		b.WriteString("\n" + indent(e.text))
	}
	s.mu.Unlock()
	if s.manager != nil {
		b.WriteString("the user's service manager:\n" + indent(s.manager.said()))
	}
	log := s.user.look("tail", "-n", "15", world.RuntimeDir+"/footbridge/daemon.log")
	if log.Code == 0 && log.Out != "" {
		b.WriteString("footbridge's log:\n" + indent(log.Out))
	}
	return b.String()
}

// footbridge runs the program under test as the user; the cell fails if it does.
func (s *stage) footbridge(args ...string) string {
	return s.user.run(append([]string{"footbridge"}, args...)...)
}

// link gives the program under test another name in the stage's bin folder, and returns its path.
func (s *stage) link(name string) string {
	path := filepath.Join(s.bin, name)
	if err := os.Symlink("footbridge", path); err != nil && !errors.Is(err, os.ErrExist) {
		s.fail("naming the program %s: %w", name, err)
	}
	return path
}

// folder makes a folder of the user's, the same path inside and outside.
func (s *stage) folder(name string) string {
	path := filepath.Join(s.home, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		s.fail("making a folder: %w", err)
	}
	s.own(path)
	return path
}

// write makes a file of the user's, below the home folder unless the path is absolute, and returns its path.
func (s *stage) write(path, text string, mode os.FileMode) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.home, path)
	}
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), mode)
	}
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		s.fail("writing a file: %w", err)
	}
	s.own(path)
	return path
}

// own gives a path below the home folder to the user, with the folders above it.
func (s *stage) own(path string) {
	for ; isRoot() && len(path) > len(s.home) && strings.HasPrefix(path, s.home); path = filepath.Dir(path) {
		if err := os.Lchown(path, world.UID, world.UID); err != nil {
			s.fail("giving %s to the user: %w", path, err)
		}
	}
}

// cache returns a folder that outlives the run, for what takes long to make. It is outside of the user's home.
func (s *stage) cache(name string) string {
	base, err := os.UserCacheDir()
	if isRoot() || err != nil {
		base = "/var/cache"
	}
	path := filepath.Join(base, "footbridge-interop", name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		s.fail("making a folder that stays: %w", err)
	}
	return path
}

// waitLimit is how long a cell waits for what another process does.
const waitLimit = 20 * time.Second

// wait asks until there is no error any more, and fails the cell with the last one after 20 seconds.
func (s *stage) wait(what string, ask func() error) {
	var err error
	if !world.Poll(waitLimit, func() bool { err = s.guard(ask); return err == nil }) {
		s.fail("waited %v for %s: %w", waitLimit, what, err)
	}
}

// mustHold fails the cell if a text is without one of the others.
func (s *stage) mustHold(text string, wanted ...string) {
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			s.fail("no %q in: %s", w, text)
		}
	}
}

// addr returns an address of the world by its name, such as WEB4 or HOST4 (see package world).
func (s *stage) addr(name string) string { return world.Addr(name).String() }

// role returns the command, up to its arguments, that runs a function of roles inside the world: pass it to
// place.run as s.user.run(s.role("name", args...)...).
func (s *stage) role(name string, args ...string) []string {
	return append([]string{filepath.Join(s.bin, "interop"), roleArgument, name}, args...)
}
