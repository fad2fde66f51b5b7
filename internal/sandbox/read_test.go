package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"
)

const status = `Name:	footbridge
CapInh:	0000000000000001
CapPrm:	0000000000000002
CapEff:	0000000000000004
CapBnd:	000001ffffffffff
CapAmb:	0000010000000000
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	1
`

func TestAStatusFileIsRead(t *testing.T) {
	s, err := parseStatus([]byte(status))
	if err != nil || !s.NoNewPrivs || s.Capabilities != 0x10000000007 || s.Seccomp != SeccompFilter {
		t.Errorf("%+v, %v", s, err)
	}
	for old, new := range map[string]string{
		"NoNewPrivs:\t1\n": "",
		"Seccomp:\t2":      "Seccomp:\t3",
		"CapAmb:\t0":       "CapAmb:\tx",
	} {
		if s, err := parseStatus([]byte(strings.Replace(status, old, new, 1))); err == nil {
			t.Errorf("%q instead of %q gives %+v", new, old, s)
		}
	}
	for mode, want := range map[string]string{"0": SeccompOff, "1": SeccompStrict} {
		if s, _ := parseStatus([]byte(strings.Replace(status, "Seccomp:\t2", "Seccomp:\t"+mode, 1))); s.Seccomp != want {
			t.Errorf("mode %s is %q", mode, s.Seccomp)
		}
	}
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte(status))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseStatus(b); err == nil && s.Seccomp == "" {
			t.Errorf("no mode in %+v", s)
		}
	})
}

func TestThisProcessIsInNoSandbox(t *testing.T) {
	s, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	own, err := ownState()
	if err != nil || own.Capabilities != s.Capabilities {
		t.Errorf("%+v (%v) asked, %+v read", own, err, s)
	}
	if _, err := Read(1 << 30); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a process that is not there: %v", err)
	}
}

func TestTheLogOfAKillIsRead(t *testing.T) {
	const log = `<5>[ 10.1] audit: type=1326 audit(1700000000.123:45): auid=4294967295 uid=1000 gid=1000 ses=4294967295 pid=77 comm="footbridge-work" exe="/usr/bin/footbridge" sig=31 arch=c000003e syscall=59 compat=0 ip=0x48a7ae code=0x80000000
<5>[ 10.2] audit: type=1326 audit(1700000000.124:46): auid=4294967295 uid=1000 gid=1000 ses=4294967295 subj=unconfined pid=77 comm="footbridge-work" exe="/usr/bin/footbridge" sig=31 arch=c000003e syscall=257 compat=0 ip=0x48a7ae code=0x80000000
<5>[ 10.3] audit: type=1400 audit(1700000000.125:47): pid=78 comm="x" sig=31 syscall=1
<5>[ 10.4] audit: type=1326 audit(1700000000.126:48): auid=1 uid=1000 gid=1000 ses=1 pid=79 comm="x" exe="/x" sig=0 arch=c000003e syscall=2 compat=0 ip=0x1 code=0x7ffc0000
`
	then := time.Unix(1700000000, 0)
	if nr, ok := seccompRecord(log, 77, then); nr != 257 || !ok {
		t.Errorf("%d, %v", nr, ok)
	}
	if nr, ok := seccompRecord(log, 77, then.Add(time.Second)); ok {
		t.Errorf("an older process: %d", nr)
	}
	for _, pid := range []int{7, 78, 79} {
		if nr, ok := seccompRecord(log, pid, then); ok {
			t.Errorf("process %d: %d", pid, nr)
		}
	}
}
