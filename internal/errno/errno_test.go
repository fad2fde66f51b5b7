package errno

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"gvisor.dev/gvisor/pkg/syserr"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// all are netstack's errors, each with the number that the same thing has on a
// socket of the system.
var all = []struct {
	err  tcpip.Error
	want syscall.Errno
}{
	{nil, 0},
	{&tcpip.ErrAborted{}, syscall.EPIPE},
	{&tcpip.ErrAddressFamilyNotSupported{}, syscall.EAFNOSUPPORT},
	{&tcpip.ErrAlreadyBound{}, syscall.EINVAL},
	{&tcpip.ErrAlreadyConnected{}, syscall.EISCONN},
	{&tcpip.ErrAlreadyConnecting{}, syscall.EALREADY},
	{&tcpip.ErrBadAddress{}, syscall.EFAULT},
	{&tcpip.ErrBadBuffer{}, syscall.EFAULT},
	{&tcpip.ErrBadLocalAddress{}, syscall.EADDRNOTAVAIL},
	{&tcpip.ErrBroadcastDisabled{}, syscall.EACCES},
	{&tcpip.ErrClosedForReceive{}, syscall.EINVAL},
	{&tcpip.ErrClosedForSend{}, syscall.EPIPE},
	{&tcpip.ErrConnectStarted{}, syscall.EINPROGRESS},
	{&tcpip.ErrConnectionAborted{}, syscall.ECONNABORTED},
	{&tcpip.ErrConnectionRefused{}, syscall.ECONNREFUSED},
	{&tcpip.ErrConnectionReset{}, syscall.ECONNRESET},
	{&tcpip.ErrDestinationRequired{}, syscall.EDESTADDRREQ},
	{&tcpip.ErrDuplicateAddress{}, syscall.EEXIST},
	{&tcpip.ErrDuplicateNICID{}, syscall.EEXIST},
	{&tcpip.ErrEndpointBusy{}, syscall.EBUSY},
	{&tcpip.ErrHostDown{}, syscall.EHOSTDOWN},
	{&tcpip.ErrHostUnreachable{}, syscall.EHOSTUNREACH},
	{&tcpip.ErrInvalidEndpointState{}, syscall.EINVAL},
	{&tcpip.ErrInvalidOptionValue{}, syscall.EINVAL},
	{&tcpip.ErrInvalidPortRange{}, syscall.EINVAL},
	{&tcpip.ErrMalformedHeader{}, syscall.EINVAL},
	{&tcpip.ErrMessageTooLong{}, syscall.EMSGSIZE},
	{&tcpip.ErrMissingRequiredFields{}, syscall.EINVAL},
	{&tcpip.ErrMulticastInputCannotBeOutput{}, syscall.EINVAL},
	{&tcpip.ErrNetworkUnreachable{}, syscall.ENETUNREACH},
	{&tcpip.ErrNoBufferSpace{}, syscall.ENOBUFS},
	{&tcpip.ErrNoNet{}, syscall.ENETUNREACH},
	{&tcpip.ErrNoPortAvailable{}, syscall.EADDRINUSE},
	{&tcpip.ErrNoSuchFile{}, syscall.ENOENT},
	{&tcpip.ErrNotConnected{}, syscall.ENOTCONN},
	{&tcpip.ErrNotPermitted{}, syscall.EPERM},
	{&tcpip.ErrNotSupported{}, syscall.EOPNOTSUPP},
	{&tcpip.ErrPortInUse{}, syscall.EADDRINUSE},
	{&tcpip.ErrQueueSizeNotSupported{}, syscall.EINVAL},
	{&tcpip.ErrTimeout{}, syscall.ETIMEDOUT},
	{&tcpip.ErrUnknownDevice{}, syscall.ENODEV},
	{&tcpip.ErrUnknownNICID{}, syscall.ENODEV},
	{&tcpip.ErrUnknownProtocol{}, syscall.EINVAL},
	{&tcpip.ErrUnknownProtocolOption{}, syscall.ENOPROTOOPT},
	{&tcpip.ErrWouldBlock{}, syscall.EAGAIN},
}

func TestEveryErrorHasItsNumber(t *testing.T) {
	for _, c := range all {
		if got := From(c.err); got != c.want {
			t.Errorf("%T: %v, want %v", c.err, got, c.want)
		}
	}
}

// gVisor translates the same errors for the programs in its sandbox.
func TestGVisorGivesTheSameNumbers(t *testing.T) {
	different := map[string]string{ // and why
		"*tcpip.ErrNoNet":                 "a network that is not there is unreachable",
		"*tcpip.ErrNoPortAvailable":       "trying again at once does not help",
		"*tcpip.ErrClosedForReceive":      "an end of data has no number",
		"*tcpip.ErrQueueSizeNotSupported": "an ioctl of terminals",
	}
	for _, c := range all {
		theirs := syserr.TranslateNetstackError(c.err)
		if theirs == nil {
			if c.err != nil {
				t.Errorf("%T: no error there, %v here", c.err, From(c.err))
			}
			continue
		}
		if n := syscall.Errno(theirs.ToLinux()); n != From(c.err) && different[fmt.Sprintf("%T", c.err)] == "" {
			t.Errorf("%T: %v there, %v here", c.err, n, From(c.err))
		}
	}
}

func TestNumbersAnswerToTheUsualQuestions(t *testing.T) {
	err := fmt.Errorf("connect: %w", From(&tcpip.ErrConnectionRefused{}))
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v is not ECONNREFUSED", err)
	}
	if err := fmt.Errorf("connect: %w", From(&tcpip.ErrNotPermitted{})); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v is not fs.ErrPermission", err)
	}
	if !From(&tcpip.ErrTimeout{}).Timeout() {
		t.Error("a timeout does not say so")
	}
}
