package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// Mailbox opens a UDP socket that nobody reads, until Release.
func (a *Actor) Mailbox(port int, _ *struct{}) error {
	c, err := net.ListenPacket("udp4", net.JoinHostPort("", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("opening a mailbox: %w", err)
	}
	a.Hold(func() { c.Close() })
	return nil
}

// Overflow says how many datagrams have found the socket of that port full.
func (a *Actor) Overflow(port int, count *uint64) error {
	text, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		return err
	}
	*count, err = drops(string(text), port)
	return err
}

// drops finds a port's in the text of /proc/net/udp, whose last column it is.
func drops(table string, port int) (uint64, error) {
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) > 2 && strings.HasSuffix(words[1], fmt.Sprintf(":%04X", port)) {
			return strconv.ParseUint(words[len(words)-1], 10, 64)
		}
	}
	return 0, errors.New("no socket has port " + strconv.Itoa(port))
}
