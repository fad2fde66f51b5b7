package api

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
)

var twoLines = []LogEntry{
	{Stream: stdcopy.Stdout, Time: time.Unix(1700000000, 1), Line: []byte("out\n")},
	{Stream: stdcopy.Stderr, Time: time.Unix(1700000000, 2), Line: []byte("err\n")},
}

func TestLogs(t *testing.T) {
	f, c := start(t)
	f.logs = twoLines
	createContainer(t, c, "plain", container.Config{Cmd: []string{"cat"}})
	createContainer(t, c, "tty", container.Config{Cmd: []string{"cat"}, Tty: true})
	for _, tt := range []struct {
		name           string
		options        LogsOptions
		stdout, stderr string
	}{
		{"plain", LogsOptions{Stdout: true, Stderr: true, Tail: -1}, "out\n", "err\n"},
		{"plain", LogsOptions{Stderr: true, Tail: -1}, "", "err\n"},
		{"plain", LogsOptions{Stdout: true, Timestamps: true, Tail: -1}, "2023-11-14T22:13:20.000000001Z out\n", ""},
		{"tty", LogsOptions{Stdout: true, Stderr: true, Tail: -1}, "out\nerr\n", ""},
	} {
		logs, err := c.ContainerLogs(testContext(t), tt.name, tt.options)
		if err != nil {
			t.Fatal(err)
		}
		if logs.TTY != (tt.name == "tty") {
			t.Errorf("%s: TTY is %v", tt.name, logs.TTY)
		}
		var stdout, stderr bytes.Buffer
		if err := logs.Copy(&stdout, &stderr); err != nil {
			t.Error(err)
		}
		if stdout.String() != tt.stdout || stderr.String() != tt.stderr {
			t.Errorf("%s %+v: stdout %q, stderr %q; want %q, %q", tt.name, tt.options, &stdout, &stderr, tt.stdout, tt.stderr)
		}
	}
}

func TestLogsOptionsReachTheBackend(t *testing.T) {
	f, c := start(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"cat"}})
	want := LogsOptions{Stdout: true, Since: time.Unix(5, 7), Until: time.Unix(6, 0), Tail: 0}
	logs, err := c.ContainerLogs(testContext(t), "web", want)
	if err != nil {
		t.Fatal(err)
	}
	if err := logs.Copy(nil, nil); err != nil {
		t.Error(err)
	}
	if !f.lastLogs.Since.Equal(want.Since) || !f.lastLogs.Until.Equal(want.Until) || f.lastLogs.Tail != 0 {
		t.Errorf("got %+v, want %+v", f.lastLogs, want)
	}
	for query, tail := range map[string]int{"stdout=1": -1, "stdout=1&tail=all": -1, "stdout=1&tail=-3": -1, "stdout=1&tail=3": 3} {
		if status, body := do(t, c, "GET", "/containers/web/logs?"+query, ""); status != 200 || f.lastLogs.Tail != tail {
			t.Errorf("%s: %d %s, tail %d; want %d", query, status, body, f.lastLogs.Tail, tail)
		}
	}
	if _, err := c.ContainerLogs(testContext(t), "web", LogsOptions{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("no stream: %v", err)
	}
	for _, since := range []string{"yesterday", "1/2", "1e9", "-", "9999999999999999999", strings.Repeat("1", 100)} {
		if status, body := do(t, c, "GET", "/containers/web/logs?stdout=1&since="+since, ""); status != 400 {
			t.Errorf("since %s: %d %s; want 400", since, status, body)
		}
	}
}

func TestFollowedLogsComeAtOnceAndEndWithTheReader(t *testing.T) {
	f, c := start(t)
	f.logs = twoLines
	createContainer(t, c, "web", container.Config{Cmd: []string{"cat"}})
	logs, err := c.ContainerLogs(testContext(t), "web", LogsOptions{Stdout: true, Stderr: true, Follow: true, Tail: -1})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for e, err := range logs.Entries { // the backend goes on after the second
		if err != nil {
			t.Fatal(err)
		}
		if seen++; string(e.Line) == "err\n" {
			break
		}
	}
	if seen != 2 {
		t.Errorf("%d entries, want 2", seen)
	}
	f.waitDetached(t, "after the reader stopped")

	ctx, cancel := context.WithCancel(testContext(t))
	if _, err := c.ContainerLogs(ctx, "web", LogsOptions{Stdout: true, Follow: true, Tail: -1}); err != nil {
		t.Fatal(err)
	}
	cancel()
	f.waitDetached(t, "after the context ended")
}

func TestErrorBeforeALogIsAnAnswer(t *testing.T) {
	f, c := start(t)
	f.logsErr = Errorf(errdefs.ErrNotFound, "the log was removed")
	createContainer(t, c, "web", container.Config{Cmd: []string{"cat"}})
	if _, err := c.ContainerLogs(testContext(t), "web", LogsOptions{Stdout: true, Tail: -1}); !errdefs.IsNotFound(err) {
		t.Errorf("got %v; want not found", err)
	}
}

func TestErrorWithinALogIsNotItsEnd(t *testing.T) {
	f, c := start(t)
	f.logs, f.logsErr = twoLines, errors.New("the disk is gone")
	createContainer(t, c, "plain", container.Config{Cmd: []string{"cat"}})
	createContainer(t, c, "tty", container.Config{Cmd: []string{"cat"}, Tty: true})
	for name, want := range map[string]string{"plain": "the disk is gone", "tty": "unexpected EOF"} {
		logs, err := c.ContainerLogs(testContext(t), name, LogsOptions{Stdout: true, Tail: -1})
		if err == nil {
			err = logs.Copy(nil, nil)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want an error with %q", name, err, want)
		}
	}
}
