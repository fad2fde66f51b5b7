package testserver

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

func TestTCPServesManyAtOnceUntilItIsClosed(t *testing.T) {
	l := TCP(t, Loopback, Echo)
	for i := range 3 { // each beside those before, which stay
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(c, i)
		b := make([]byte, 1)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != fmt.Sprint(i) {
			t.Errorf("connection %d heard %q, %v", i, b, err)
		}
	}
	l.Close()
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("a closed server takes connections")
	}
}

func TestDiscardSaysNothing(t *testing.T) {
	c, err := net.Dial("tcp", TCP(t, Loopback, Discard).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "hello")
	c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
		t.Errorf("%q, %v", b, err)
	}
}

func TestUDPAnswersAllButNil(t *testing.T) {
	s := UDP(t, Loopback, func(from net.Addr, b []byte) []byte {
		if string(b) == "silence" {
			return nil
		}
		return append(EchoDatagram(from, b), " from "+from.String()...)
	})
	c, err := net.Dial("udp", s.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	for _, say := range []string{"silence", "", "hello"} {
		io.WriteString(c, say)
	}
	for _, want := range []string{"", "hello"} {
		b := make([]byte, maxDatagram)
		n, err := c.Read(b)
		if want += " from " + c.LocalAddr().String(); err != nil || string(b[:n]) != want {
			t.Errorf("%q, %v, want %q", b[:n], err, want)
		}
	}
}

func TestATakenAddressIsRefused(t *testing.T) {
	at := TCP(t, Loopback, Discard).Addr().String()
	if _, err := ListenTCP("tcp", at, Discard); err == nil {
		t.Error("TCP: served twice")
	}
	at = UDP(t, Loopback, EchoDatagram).LocalAddr().String()
	if _, err := ListenUDP("udp", at, EchoDatagram); err == nil {
		t.Error("UDP: served twice")
	}
}
