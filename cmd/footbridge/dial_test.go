package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDialTellsACutFromAnEnd(t *testing.T) {
	for name, test := range map[string]struct {
		end func(container *net.UnixConn) error
		cut bool
	}{
		"an end": {(*net.UnixConn).CloseWrite, false},
		"a cut":  {(*net.UnixConn).Close, true},
	} {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		conn, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		container, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer container.Close()
		stdin, typed, err := os.Pipe() // a terminal at which nobody types
		if err != nil {
			t.Fatal(err)
		}
		defer typed.Close()
		defer stdin.Close()
		if _, err := container.Write([]byte("half")); err != nil {
			t.Fatal(err)
		}
		if err := test.end(container.(*net.UnixConn)); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = join(&cli{stdin: stdin, stdout: &out}, conn)
		if out.String() != "half" || test.cut != (err != nil) {
			t.Errorf("%s: %q, %v", name, out.String(), err)
		}
		if err != nil && (!errors.Is(err, syscall.ECONNRESET) || !strings.Contains(err.Error(), "the connection was cut")) {
			t.Errorf("%s is called %v", name, err)
		}
	}
}
