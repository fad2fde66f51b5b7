package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// defaultBlock is what a stream writes each time, in bytes.
const defaultBlock = 4096

// wordSize is the size of the numbers that a stream consists of.
const wordSize = 8

// pause is how long a stream that broke waits before it begins anew.
const pause = 20 * time.Millisecond

// stream runs a job of kind Stream.
func stream(ctx context.Context, j Job, a *account) {
	for {
		err := oneStream(ctx, j, a)
		if ctx.Err() != nil {
			return
		}
		a.broke(Now(), err.Error())
		if !j.Again {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// oneStream is one connection, from dialling to its end. Its error is never nil.
func oneStream(ctx context.Context, j Job, a *account) error {
	c, err := (&net.Dialer{Timeout: j.patience()}).DialContext(ctx, "tcp", j.To)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	a.read(Now(), 0) // connected: the clock of gaps runs from here
	written := make(chan error, 1)
	go func() {
		err := number(ctx, j, c)
		// Whatever ended the writing ends the reading.
		c.Close()
		written <- err
	}()
	err = check(c, a)
	c.Close()
	if problem := <-written; problem != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; writing: %w", err, problem)
	}
	return err
}

// number writes numbered words until the connection ends.
func number(ctx context.Context, j Job, w io.Writer) error {
	size := j.Block
	if size <= 0 {
		size = defaultBlock
	}
	block := make([]byte, size/wordSize*wordSize)
	tick := time.NewTicker(j.Every)
	defer tick.Stop()
	for word := uint64(0); ; {
		for i := 0; i < len(block); i += wordSize {
			binary.BigEndian.PutUint64(block[i:], word)
			word++
		}
		if _, err := w.Write(block); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// check reads words until the connection ends and compares them with what was written.
func check(r io.Reader, a *account) error {
	b := make([]byte, 64<<10)
	rest, word := 0, uint64(0)
	for {
		n, err := r.Read(b[rest:])
		if n > 0 {
			a.read(Now(), n)
		}
		n += rest
		i := 0
		for ; i+wordSize <= n; i += wordSize {
			if got := binary.BigEndian.Uint64(b[i:]); got != word {
				a.spoiled(fmt.Sprintf("byte %d of a stream: word %d where %d was written", word*wordSize, got, word))
				return fmt.Errorf("word %d came where %d was written", got, word)
			}
			word++
		}
		rest = copy(b, b[i:n])
		if err != nil {
			return err
		}
	}
}
