package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/engine/store"
	"github.com/footbridge-net/footbridge/engine/worker"
	"github.com/footbridge-net/footbridge/internal/fdstore"
)

var _ api.Backend = (*Engine)(nil)

// stateFile is the state file's name in the state folder.
const stateFile = "state.db"

// Options of an Engine. RuntimeDir and StateDir are required; they exist and
// belong to the user alone.
type Options struct {
	RuntimeDir string
	StateDir   string
	Socket     string // the API's, for Status
	Version    string
	Commit     string
	// ResolvConf is the host's; "" = /etc/resolv.conf.
	ResolvConf string
	Logger     *slog.Logger
	// Config is what the user has settled for all networks.
	Config Config
	// Shutdown is called when a client asks the daemon to end. It must return
	// at once.
	Shutdown func()

	// Store keeps descriptors for the daemon's next life; nil = nothing is kept.
	Store *fdstore.Store

	// Replaced in tests; nil = the real ones.
	HostRoutes     func() ([]HostRoute, error)
	HostInterfaces func() ([]HostInterface, error)
	Now            func() time.Time
	Runtime        Runtime
	Places         Places
	DataPlane      DataPlane
}

// Engine keeps networks and containers, and makes them so.
type Engine struct {
	opts    Options
	log     *slog.Logger
	store   *store.Store
	damage  *store.Damage
	claimed *os.File // holds the lock on the state folder
	notices []string // of the start; never changed afterwards
	// waiting is configuration that this daemon does not go by; never changed after the start.
	waiting  []api.Warning
	strays   []*stray // never changed after the start
	events   *broker
	upstream *dns.Upstream // the host's resolvers; nobody is asked here
	data     DataPlane
	policy   *plane.Policy // as the data plane has it
	started  time.Time

	// background are the goroutines that wait for containers; they end with
	// ctx.
	ctx        context.Context
	cancel     context.CancelFunc
	background sync.WaitGroup

	frozen []*ctr // whose op locks HandOver holds

	// netOp is held while a network is made or removed. Taken before mu.
	netOp sync.Mutex

	// mu guards everything below and what hangs on it. It is never held while
	// something is waited for.
	mu         sync.Mutex
	networks   map[string]*netw // by id
	containers map[string]*ctr  // by id; enroll and strike change it
	known      registry
	execs      map[string]*execution
	execSeq    uint64
	closed     bool
	busy       int           // requests under way that will leave something running
	settled    chan struct{} // closed when busy is 0 again, for who waits; or nil
}

// New opens the state, makes the predefined networks if they are missing, and
// finds the containers again that have survived the last daemon.
func New(o Options) (*Engine, error) {
	o.setDefaults()
	if err := o.Config.Check(); err != nil {
		return nil, err
	}
	e := &Engine{
		opts: o, log: o.Logger, started: o.Now(),
		events: newBroker(o.Now), policy: plane.NewPolicy(),
		networks: map[string]*netw{}, containers: map[string]*ctr{}, known: newRegistry(), execs: map[string]*execution{},
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if err := os.MkdirAll(filepath.Join(o.RuntimeDir, "c"), 0o700); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(o.StateDir, "containers"), 0o700); err != nil {
		return nil, err
	}
	if err := e.claim(); err != nil {
		return nil, err
	}
	var err error
	path := filepath.Join(o.StateDir, stateFile)
	if e.store, e.damage, err = store.Open(path, store.Options{}); err != nil {
		return nil, errors.Join(err, e.claimed.Close())
	}
	if e.damage != nil {
		e.log.Error("the state file was damaged: it is kept under another name, and its copy is used, or this is a fresh start",
			"file", path, "kept", e.damage.Path, "copy", e.damage.Restored, "cause", e.damage.Cause)
		e.notices = append(e.notices, damageNotice(e.damage, o.StateDir))
	}
	if e.upstream, err = dns.NewUpstream(o.ResolvConf, dns.UpstreamOptions{Logger: e.log}); err != nil {
		return nil, errors.Join(fmt.Errorf("host's resolvers: %w", err), e.store.Close(), e.claimed.Close())
	}
	if e.data, err = o.dataPlane(); err != nil {
		return nil, errors.Join(err, e.upstream.Close(), e.store.Close(), e.claimed.Close())
	}
	if err = e.load(); err == nil {
		e.sweepLogs()
		e.adoptAll() // before others take the names and subnets of their networks
		err = e.addPredefined()
	}
	if err != nil {
		return nil, errors.Join(err, e.data.Close(), e.upstream.Close(), e.store.Close(), e.claimed.Close())
	}
	e.publishPolicy()
	e.upstream.Subscribe(func(dns.Config) {
		e.data.SetServers(e.resolvers())
		e.rewriteResolvConfs()
	})
	e.data.SetServers(e.resolvers())
	e.reconcile()
	if err := e.data.Release(); err != nil {
		e.log.Error("containers are without network until the worker can be started", "error", err)
	}
	return e, nil
}

// dataPlane makes the real data plane unless there is one.
func (o *Options) dataPlane() (DataPlane, error) {
	if o.DataPlane != nil {
		return o.DataPlane, nil
	}
	w := worker.Options{RuntimeDir: o.RuntimeDir, Logger: o.Logger}
	if o.Store != nil { // a nil *Store is not a nil worker.Store
		w.Store = o.Store
	}
	s, err := worker.New(w)
	if err != nil {
		return nil, err
	}
	return realDataPlane{s}, nil
}

func (o *Options) setDefaults() {
	if o.ResolvConf == "" {
		o.ResolvConf = "/etc/resolv.conf"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Shutdown == nil {
		o.Shutdown = func() {}
	}
	if o.HostInterfaces == nil {
		o.HostInterfaces = hostInterfaces
	}
	if o.HostRoutes == nil {
		o.HostRoutes = hostRoutes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Runtime == nil {
		o.Runtime = shimRuntime{}
	}
	if o.Places == nil {
		o.Places = realPlaces{}
	}
}

func (e *Engine) now() time.Time { return e.opts.Now().UTC() }

// Damage says what became of a state file that could not be read, or nil.
func (e *Engine) Damage() *store.Damage { return e.damage }

// load reads the definitions.
func (e *Engine) load() error {
	networks, err := store.Load[*NetworkDef](e.store, store.Networks)
	if err != nil {
		return err
	}
	for id, def := range networks {
		n, err := newNetwork(def)
		if err != nil {
			return fmt.Errorf("state of network %s: %w", def.Name, err)
		}
		e.networks[id] = n
	}
	containers, err := store.Load[*ContainerDef](e.store, store.Containers)
	if err != nil {
		return err
	}
	var changes []store.Change
	for _, def := range containers {
		if e.nameNetworks(def) {
			changes = append(changes, store.Put(store.Containers, def.ID, def))
		}
		e.enroll(&ctr{def: def})
	}
	if len(changes) > 0 {
		if err := e.store.Save(changes...); err != nil {
			e.log.Warn("names of containers' networks not written: it is tried again at the next start", "error", err)
		}
	}
	return nil
}

// Idle reports whether nothing runs and nothing is being started: the daemon
// may end and nobody would notice.
func (e *Engine) Idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy > 0 {
		return false
	}
	for _, c := range e.containers {
		if c.run != nil {
			return false
		}
	}
	return true
}

// enter counts a request that must not be cut off by the daemon's end.
func (e *Engine) enter() (leave func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, unavailable("the footbridge daemon is about to end: try again")
	}
	e.busy++
	e.background.Add(1)
	return func() {
		e.mu.Lock()
		if e.busy--; e.busy == 0 && e.settled != nil {
			close(e.settled)
			e.settled = nil
		}
		e.mu.Unlock()
		e.background.Done()
	}, nil
}

// Close lets go of everything without ending a container: their processes go
// on without a network until the next Engine finds them.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	e.mu.Unlock()
	e.cancel()
	e.background.Wait()

	// First: what the following lets go of stays in the descriptors' store.
	errs := []error{e.data.Close()}
	for _, c := range e.allContainers() {
		e.mu.Lock()
		r := c.run
		c.run = nil
		e.mu.Unlock()
		if r != nil {
			r.letGo()
		}
	}
	e.mu.Lock()
	networks := e.sortedNetworks()
	e.mu.Unlock()
	for _, n := range networks {
		n.planeMu.Lock()
		if n.plane != nil {
			errs = append(errs, n.plane.Close())
			n.plane = nil
		}
		n.planeMu.Unlock()
	}
	e.events.close()
	return errors.Join(append(errs, e.upstream.Close(), e.store.Close(), e.claimed.Close())...)
}
