package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// crowd bounds the attempts of one job that wait at once. More than that are not begun: a machine that cannot keep
// up would otherwise get further and further behind, and what was measured would be its queue.
const crowd = 256

// each begins an attempt every so often, each on a goroutine of its own, and waits for them at the end.
func each(ctx context.Context, j Job, attempts ...func()) {
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, crowd)
	tick := time.NewTicker(j.Every)
	defer tick.Stop()
	for {
		for _, attempt := range attempts {
			select {
			case places <- struct{}{}:
				wg.Go(func() {
					attempt()
					<-places
				})
			default:
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask runs a job of kind Ask.
func ask(ctx context.Context, j Job, a *account) {
	each(ctx, j, func() {
		number := a.begin(Now())
		said, err := askOnce(ctx, j)
		switch {
		case err != nil:
			a.end(number, Now(), err.Error())
		case !strings.HasPrefix(said, j.Want):
			a.end(number, Now(), fmt.Sprintf("said %q, not %q", said, j.Want))
		default:
			a.end(number, Now(), "")
		}
	})
}

func askOnce(ctx context.Context, j Job) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, j.patience())
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", j.To)
	if err != nil {
		return "", err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	said, err := io.ReadAll(io.LimitReader(c, 4096))
	if err == nil && len(said) == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: connected, and no answer", ctx.Err())
	}
	return string(said), err
}

// knock runs a job of kind Knock. What it finds open is a success, and none is wanted.
func knock(ctx context.Context, j Job, a *account) {
	try := func(network string) func() {
		return func() {
			number := a.begin(Now())
			err := knockOnce(ctx, network, j)
			problem := ""
			if err != nil {
				problem = network + ": " + err.Error()
			}
			a.end(number, Now(), problem)
		}
	}
	each(ctx, j, try("tcp"), try("udp"))
}

func knockOnce(ctx context.Context, network string, j Job) error {
	ctx, cancel := context.WithTimeout(ctx, j.patience())
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, network, j.To)
	if err != nil {
		return err
	}
	defer c.Close()
	if network == "tcp" {
		return nil // a handshake is an answer
	}
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	if _, err := c.Write(make([]byte, markSize)); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 4096))
	return err
}
