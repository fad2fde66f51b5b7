package engine

import (
	"os"
	"runtime"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/worker"
)

// processes describes the daemon's two processes.
func (e *Engine) processes() (keeper api.ProcessStatus, w api.WorkerStatus) {
	keeper = api.ProcessStatus{
		PID: os.Getpid(), StartedAt: e.started, Version: e.opts.Version,
		Memory: worker.Resident(os.Getpid()), Goroutines: runtime.NumGoroutine(),
	}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		keeper.Descriptors = len(fds)
	}
	st := e.data.Status()
	return keeper, api.WorkerStatus{
		ProcessStatus: api.ProcessStatus{
			PID: st.PID, StartedAt: st.StartedAt, Version: st.Self.Version,
			Memory: st.Memory, Goroutines: st.Self.Goroutines, Descriptors: st.Self.Descriptors,
		},
		Restarts: st.Restarts, LastExit: st.LastExit, Sandbox: st.Sandbox,
	}
}
