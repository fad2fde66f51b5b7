package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/footbridge-net/footbridge/internal/share"
	"github.com/footbridge-net/footbridge/internal/turn"
)

// Errors of [Upstream.Exchange].
var (
	// ErrNoServers: resolv.conf names none.
	ErrNoServers = errors.New("no DNS server is configured")
	// ErrNoAnswer: each server was asked and none gave any answer. The
	// reasons are joined to it.
	ErrNoAnswer = errors.New("no DNS server answered")
	// ErrBusy: too many exchanges are under way (UpstreamOptions.MaxInFlight).
	ErrBusy = errors.New("too many DNS exchanges under way")
	// ErrNotAQuery: the bytes to be forwarded are not one well-formed question.
	ErrNotAQuery = errors.New("not a DNS query")
)

// sockets are those of all Upstreams' exchanges. The number is settled when the
// process starts: package forwarder has most of the descriptors, and portfwd.
var sockets = share.New(min(2048, share.OpenFiles()/16))

// UpstreamOptions describe an [Upstream]. A zero field has the default.
type UpstreamOptions struct {
	// Servers are asked instead of the file's; the first three count.
	Servers []netip.AddrPort
	// Timeout bounds one try with one server over one transport. Default
	// 4 s, Docker's: less than the 5 s after which libc asks again.
	Timeout time.Duration
	// Total bounds an exchange with all its tries. Default 12 s, which is
	// three servers that don't answer.
	Total time.Duration
	// MaxInFlight bounds this Upstream's exchanges. Default: what the exchanges of
	// all Upstreams of the process may be together, which is 2048, or a
	// sixteenth of its limit of open files if that is less. Each is a socket.
	MaxInFlight int
	// Logger is for what is worth knowing. nil: nothing is logged.
	Logger *slog.Logger
}

// Upstream asks the host's resolvers.
//
// Servers are asked in the file's order, each question from the start, as libc
// does. A server that didn't answer is not put last for the next question:
// servers may know different names, and then order is meaning.
type Upstream struct {
	path     string
	explicit []netip.AddrPort
	timeout  time.Duration
	total    time.Duration
	log      *slog.Logger
	config   atomic.Pointer[Config]
	inFlight *share.Pool

	reloadMu sync.Mutex // one reload, with its callbacks, at a time
	follow   *follower  // nil without a file

	subsMu  sync.Mutex
	subs    map[int]func(Config)
	nextSub int
}

// NewUpstream reads the resolv.conf at path and follows its changes until
// Close. A file that doesn't exist yet is a file without servers. With an empty
// path there is no file, only UpstreamOptions.Servers and what SetConfig says;
// such an Upstream never touches the file system.
func NewUpstream(path string, o UpstreamOptions) (*Upstream, error) {
	if o.Timeout <= 0 {
		o.Timeout = 4 * time.Second
	}
	if o.Total <= 0 {
		o.Total = 12 * time.Second
	}
	inFlight := sockets
	if o.MaxInFlight > 0 {
		inFlight = share.New(o.MaxInFlight)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := checkServers(o.Servers); err != nil {
		return nil, err
	}
	u := &Upstream{
		path:     path,
		timeout:  o.Timeout,
		total:    o.Total,
		log:      o.Logger,
		inFlight: inFlight,
		subs:     make(map[int]func(Config)),
	}
	u.explicit = u.firstServers(slices.Clone(o.Servers))
	u.config.Store(&Config{Servers: u.explicit})
	if path != "" {
		if err := u.startFollowing(); err != nil {
			return nil, err
		}
	}
	return u, nil
}

func checkServers(servers []netip.AddrPort) error {
	for _, s := range servers {
		if !s.IsValid() || s.Port() == 0 {
			return fmt.Errorf("DNS server %q: not an address with a port", s)
		}
		if _, err := zoneID(s.Addr().Zone()); err != nil {
			return fmt.Errorf("DNS server %q: %w", s, err)
		}
	}
	return nil
}

// firstServers are those that count.
func (u *Upstream) firstServers(servers []netip.AddrPort) []netip.AddrPort {
	if len(servers) <= maxServers {
		return servers
	}
	u.log.Warn("only the first DNS servers are used", "used", maxServers, "given", len(servers))
	return servers[:maxServers]
}

// Close stops following the file. Exchanges under way, and later ones, go on
// with what was last read. Not to be called from a subscriber.
func (u *Upstream) Close() error {
	if u.follow == nil {
		return nil
	}
	return u.follow.close()
}

// Config returns what is in force.
func (u *Upstream) Config() Config { return *u.config.Load() }

// Subscribe has fn called after each change of the configuration, one call at
// a time, the last one with the newest. It is not called with what is in force
// already. cancel ends it; a call under way may still be going on then.
func (u *Upstream) Subscribe(fn func(Config)) (cancel func()) {
	u.subsMu.Lock()
	defer u.subsMu.Unlock()
	id := u.nextSub
	u.nextSub++
	u.subs[id] = fn
	return func() {
		u.subsMu.Lock()
		defer u.subsMu.Unlock()
		delete(u.subs, id)
	}
}

// SetConfig puts a configuration in force that somebody else reads, and calls
// the subscribers. It is for an Upstream without a file; exchanges under way go
// on with what they began with. The Upstream's own Servers, if it has any, stay.
// No servers at all is a configuration too: every exchange then gives
// ErrNoServers.
func (u *Upstream) SetConfig(c Config) error {
	if err := checkServers(c.Servers); err != nil {
		return err
	}
	u.reloadMu.Lock()
	defer u.reloadMu.Unlock()
	c.Servers = u.firstServers(slices.Clone(c.Servers))
	c.Search, c.Options = slices.Clone(c.Search), slices.Clone(c.Options)
	u.set(c)
	return nil
}

// set puts a configuration in force and tells the subscribers. The caller
// holds reloadMu.
func (u *Upstream) set(c Config) {
	if len(u.explicit) > 0 {
		c.Servers = u.explicit
	}
	if c.equal(*u.config.Load()) {
		return
	}
	u.config.Store(&c)
	u.subsMu.Lock()
	var fns []func(Config)
	for i := range u.nextSub {
		if fn := u.subs[i]; fn != nil {
			fns = append(fns, fn)
		}
	}
	u.subsMu.Unlock()
	for _, fn := range fns {
		fn(c)
	}
}

// Exchange sends a query, as it is but for its id, to one server after the
// other and returns the first useful reply, with the query's id. A server that
// cannot be reached, doesn't answer in time, or answers SERVFAIL or REFUSED isn't
// useful; if no other one is, the best such answer is returned. tcp tells that
// the client came by TCP: a truncated reply is then asked for again over TCP, and
// otherwise returned as it is.
//
// Errors: ErrNotAQuery, ErrNoServers, ErrBusy, ErrNoAnswer.
func (u *Upstream) Exchange(ctx context.Context, query []byte, tcp bool) ([]byte, error) {
	if !u.inFlight.Take(0) {
		return nil, ErrBusy
	}
	defer u.inFlight.Give()
	return u.exchange(ctx, query, tcp, turn.New(runtime.Gosched))
}

// exchange is Exchange for whoever has taken one of inFlight. It works when it is
// t's turn.
func (u *Upstream) exchange(ctx context.Context, query []byte, tcp bool, t *turn.Turn) ([]byte, error) {
	x := exchange{timeout: u.timeout, tcp: tcp, turn: t}
	if v := x.q.read(query); v != good {
		return nil, ErrNotAQuery
	}
	u.checkFile()
	servers := u.config.Load().Servers
	if len(servers) == 0 {
		if u.path == "" {
			return nil, ErrNoServers
		}
		return nil, fmt.Errorf("%w in %s: add a nameserver line", ErrNoServers, u.path)
	}
	ctx, cancel := context.WithTimeout(ctx, u.total)
	defer cancel()

	var best []byte
	var failures []error
	for _, server := range servers {
		if ctx.Err() != nil {
			break
		}
		reply, err := x.try(ctx, server)
		if err != nil {
			failures = append(failures, fmt.Errorf("%v: %w", server, err))
			continue
		}
		switch rcodeOf(reply) {
		case miekg.RcodeServerFailure:
			// It tried; that says more than a refusal.
			if best == nil || rcodeOf(best) == miekg.RcodeRefused {
				best = reply
			}
		case miekg.RcodeRefused:
			if best == nil {
				best = reply
			}
		default:
			return reply, nil
		}
	}
	if best != nil {
		return best, nil
	}
	return nil, fmt.Errorf("%w: %w", ErrNoAnswer, errors.Join(append(failures, ctx.Err())...))
}

func rcodeOf(msg []byte) int { return int(binary.BigEndian.Uint16(msg[2:]) & maskRcode) }
