package world

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// controlFD is where an agent finds its control socket.
const controlFD = 3

// runAgent starts commands as it is asked to, until the other side of its control socket is gone.
func runAgent() error {
	control := os.NewFile(controlFD, "control")
	syscall.CloseOnExec(controlFD)
	for {
		var r request
		files, err := receive(control, &r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(files) != 4 {
			closeAll(files)
			return fmt.Errorf("a request came with %d files, not with 4", len(files))
		}
		go serve(r, files)
	}
}

// serve runs one command from start to end. files are its standard streams and its control socket.
func serve(r request, files []*os.File) {
	control := files[3]
	defer control.Close()
	cmd := exec.Command(r.Args[0], r.Args[1:]...)
	cmd.Env, cmd.Dir = r.Env, r.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: r.TTY}
	err := inPlace(r.Place, cmd.Start)
	closeAll(files[:3])
	if err != nil {
		send(control, reply{Error: err.Error()})
		return
	}
	send(control, reply{PID: cmd.Process.Pid})

	ended := make(chan struct{})
	go func() {
		for {
			var i instruction
			if _, err := receive(control, &i); err != nil {
				break
			}
			if number := syscall.Signal(i.Signal); number == syscall.SIGKILL {
				syscall.Kill(-cmd.Process.Pid, number)
			} else {
				cmd.Process.Signal(number)
			}
		}
		select {
		case <-ended:
		default:
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	}()
	cmd.Wait()
	close(ended)
	status := reply{Ended: true, ExitCode: cmd.ProcessState.ExitCode()}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		status.Signal = int(ws.Signal())
		status.ExitCode = 128 + status.Signal
	}
	send(control, status)
}
