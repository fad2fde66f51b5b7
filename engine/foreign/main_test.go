package foreign

import (
	"os"
	"testing"

	"github.com/footbridge-net/footbridge/internal/nstest"
	"github.com/footbridge-net/footbridge/tap"
)

func TestMain(m *testing.M) {
	nstest.Main(m, tap.Dispatch, func() {
		if path := os.Getenv(mountVariable); path != "" {
			os.Exit(awaitUnmount(path))
		}
		if folder := os.Getenv(silentVariable); folder != "" {
			os.Exit(beSilent(folder))
		}
	})
}
