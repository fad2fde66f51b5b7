package lifecycle

import (
	"flag"
	"os"
	"testing"

	"github.com/footbridge-net/footbridge/tests/world"
)

func TestMain(m *testing.M) {
	world.Dispatch()
	flag.Parse()
	os.Exit(world.Main(nil, m.Run))
}
