package main

import (
	"context"
	"os"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/internal/buildinfo"
)

// requestTimeout bounds one request. Runtimes have bounds of their own, of minutes.
const requestTimeout = 60 * time.Second

// supported are the versions of the specification. Before 0.3.1 results have no interfaces.
var supported = version.PluginSupports("0.3.1", "0.4.0", "1.0.0", "1.1.0")

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	p := request{ctx: ctx, connect: plugin.Connect, out: os.Stdout}
	skel.PluginMainFuncs(skel.CNIFuncs{Add: p.add, Del: p.del, Check: p.check, GC: p.collect, Status: p.status},
		supported, "CNI plugin footbridge-cni "+buildinfo.Get().Version)
}

// request is one call of the plugin.
type request struct {
	ctx     context.Context
	connect func(context.Context, plugin.Options) (*api.Client, error)
	out     *os.File
}

// status implements STATUS: whether an ADD could be served.
func (p request) status(args *skel.CmdArgs) error {
	if _, err := readConfig(args.StdinData); err != nil {
		return err
	}
	client, err := p.connect(p.ctx, plugin.Options{})
	if err == nil {
		err = client.Ping(p.ctx)
	}
	if err != nil {
		return coded(codeUnavailable, err)
	}
	return nil
}
