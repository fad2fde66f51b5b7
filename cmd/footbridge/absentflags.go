package main

import (
	"errors"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/footbridge-net/footbridge/internal/absent"
)

// absentFlags are Docker's flags of run and create that footbridge has not. They are not shown in
// the help, but are known, so that they are refused by name and with the API's own sentence. The mark behind
// a name says what a value may be.
var absentFlags = map[string][]string{
	absent.Mounts:         {"volume,v", "volumes-from", "mount", "tmpfs"},
	absent.Volumes:        {"volume-driver"},
	absent.ReadOnlyRoot:   {"read-only?"},
	absent.StorageOptions: {"storage-opt"},

	absent.MemoryLimits: {"memory,m#", "memory-reservation#", "memory-swap#", "kernel-memory#"},
	absent.Swappiness:   {"memory-swappiness#"},
	absent.OOMKill:      {"oom-kill-disable?"},
	absent.CPULimits:    {"cpus#", "cpu-shares,c#", "cpu-period#", "cpu-quota#", "cpu-rt-period#", "cpu-rt-runtime#", "cpu-count#", "cpu-percent#"},
	absent.CPUSet:       {"cpuset-cpus", "cpuset-mems"},
	absent.ProcessLimit: {"pids-limit#"},
	absent.BlockDevices: {"blkio-weight#", "blkio-weight-device", "device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops",
		"io-maxbandwidth#", "io-maxiops#"},
	absent.CgroupParent: {"cgroup-parent"},
	absent.CgroupNS:     {"cgroupns=host"},

	absent.Devices:        {"device", "gpus", "device-cgroup-rule"},
	absent.ResourceLimits: {"ulimit"},
	absent.OOMScore:       {"oom-score-adj#"},
	absent.Groups:         {"group-add"},
	absent.Isolation:      {"isolation=default"},
	absent.Runtime:        {"runtime"},
	absent.HealthChecks:   {"health-cmd", "health-interval", "health-retries", "health-start-interval", "health-start-period", "health-timeout"},
	absent.LogDrivers:     {"log-driver=" + absent.LogDriver},
	absent.LogOptions:     {"log-opt"},
	absent.SharedSize:     {"shm-size"},
	absent.Attach:         {"attach,a"},
	absent.Entrypoint:     {"entrypoint"},
	absent.LabelFiles:     {"label-file"},
	absent.APISocket:      {"use-api-socket?"},
}

// absentValues are flags of which some values ask for what is so anyhow.
var absentValues = map[string]func(value string) string{
	"restart":      absent.RestartPolicy,
	"pid":          absent.PIDMode,
	"ipc":          absent.IPCMode,
	"uts":          absent.UTSMode,
	"security-opt": absent.SecurityOption,
	"pull":         absent.PullPolicy,
	"platform":     absent.Platform,
}

// anyhow are Docker's flags that ask for what is so anyhow: pid 1 forwards signals and reaps,
// there are no health checks, and no image is pulled.
var anyhow = []string{"init", "no-healthcheck", "quiet,q", "disable-content-trust"}

// absentFlag notes the first thing that was asked for and is not there. The command line is
// read to its end first: the refusal is like the API's and not like one of a wrong command line.
type absentFlag struct {
	name   string
	first  *string
	why    func(value string) string
	isBool bool
}

func (*absentFlag) String() string { return "" }

// Type implements pflag.Value.
func (f *absentFlag) Type() string {
	if f.isBool {
		return "bool"
	}
	return "string"
}

func (f *absentFlag) Set(value string) error {
	if f.isBool {
		if _, err := strconv.ParseBool(value); err != nil {
			return err
		}
	}
	if why := f.why(value); why != "" && *f.first == "" {
		*f.first = "--" + f.name + ": " + why
	}
	return nil
}

// registerAbsent makes the absent flags known. Whatever of them is given is then refused by the
// function that it returns.
func registerAbsent(flags *pflag.FlagSet) (refusal func() error) {
	var first string
	add := func(name, short string, isBool bool, why func(string) string) {
		f := flags.VarPF(&absentFlag{name: name, first: &first, why: why, isBool: isBool}, name, short, "")
		f.Hidden = true
		if isBool {
			f.NoOptDefVal = "true"
		}
	}
	for sentence, names := range absentFlags {
		for _, spec := range names {
			name, short, kind, harmless := splitAbsent(spec)
			add(name, short, kind == '?', func(value string) string {
				if kind == '?' {
					if yes, _ := strconv.ParseBool(value); !yes {
						return ""
					}
				}
				// Zero and minus one are how Docker writes: no limit.
				if kind == '=' && value == harmless || kind == '#' && (value == "0" || value == "-1") {
					return ""
				}
				return sentence
			})
		}
	}
	for name, why := range absentValues {
		add(name, "", false, why)
	}
	for _, spec := range anyhow {
		name, short, _, _ := splitAbsent(spec)
		add(name, short, true, func(string) string { return "" })
	}
	return func() error {
		if first == "" {
			return nil
		}
		return errors.New(first)
	}
}

// splitAbsent reads "NAME[,LETTER]" and one of "?" (true or false), "#" (a limit) and "=VALUE"
// (a value that is so anyhow).
func splitAbsent(spec string) (name, short string, kind byte, harmless string) {
	for i := range len(spec) {
		if c := spec[i]; c == '?' || c == '#' || c == '=' {
			spec, kind, harmless = spec[:i], c, spec[i+1:]
			break
		}
	}
	for i := range len(spec) {
		if spec[i] == ',' {
			return spec[:i], spec[i+1:], kind, harmless
		}
	}
	return spec, "", kind, harmless
}
