package world

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"

	"github.com/miekg/dns"

	"github.com/footbridge-net/footbridge/internal/testserver"
)

// TCP and UDP ports of the internet's web address, besides HTTP on 80. Every other port refuses.
const (
	PortEcho      = 7    // TCP and UDP: says what it hears
	PortHalfClose = 9001 // TCP: reads to the end, then says how many bytes and their SHA-256, then closes
	PortReset     = 9002 // TCP: answers the first byte with RST
	PortGreeting  = 9003 // TCP: says "goodbye" and closes its half, then reads on until the other does
	PortSilent    = 9004 // TCP: accepts and says nothing
	PortPeer      = 9006 // TCP and UDP: says from which address and port it was reached
	PortLoopback  = 8999 // TCP and UDP: a secret of the host's own loopback, 127.0.0.1 and ::1
	PortLocal     = 8998 // TCP: a service on all of the host's addresses
)

// runServices opens all listeners of a machine, says "ready" on file descriptor 3 and serves for ever.
func runServices(place Place) error {
	ready := os.NewFile(3, "ready")
	var err error
	switch place {
	case Internet:
		err = internetServices()
	case Host:
		err = hostServices()
	case Far:
		err = farServices()
	default:
		err = fmt.Errorf("there are no servers for %s", place)
	}
	if err != nil {
		fmt.Fprintln(ready, err)
		return err
	}
	fmt.Fprintln(ready, "ready")
	ready.Close()
	select {}
}

func internetServices() error {
	for _, address := range []string{"WEB4", "WEB6"} {
		ip := Addr(address).String()
		if err := serveHTTP(ip, 80, "hello from the internet\n"); err != nil {
			return err
		}
		for port, handler := range map[int]func(*net.TCPConn){
			PortEcho: testserver.Echo, PortHalfClose: halfClose, PortReset: reset, PortGreeting: greet, PortSilent: testserver.Discard, PortPeer: tellPeer,
		} {
			if err := serveTCP(ip, port, handler); err != nil {
				return err
			}
		}
		if err := serveUDP(ip, PortEcho, testserver.EchoDatagram); err != nil {
			return err
		}
	}
	// Two machines that say as whom they see a sender: that shows how a NAT maps.
	for _, address := range []string{"WEB4", "WEB6", "DNS4", "DNS6"} {
		err := serveUDP(Addr(address).String(), PortPeer, func(from net.Addr, _ []byte) []byte { return []byte(from.String() + "\n") })
		if err != nil {
			return err
		}
	}
	if err := serveHTTP(Addr("METADATA4").String(), 80, "secret of the cloud\n"); err != nil {
		return err
	}
	if err := serveHTTP("fe80::1%uplink0", 80, "secret of the link\n"); err != nil {
		return err
	}
	for address, name := range map[string]string{"DNS4": "first", "DNS6": "first", "OTHERDNS4": "second", "OTHERDNS6": "second"} {
		if err := serveNames(Addr(address).String(), name); err != nil {
			return err
		}
	}
	return nil
}

func hostServices() error {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		if err := serveHTTP(ip, PortLoopback, "secret of the host's loopback\n"); err != nil {
			return err
		}
		if err := serveUDP(ip, PortLoopback, func(net.Addr, []byte) []byte { return []byte("secret of the host's loopback\n") }); err != nil {
			return err
		}
	}
	for _, address := range []string{"HOST4", "HOST6", "UPLINK4", "UPLINK6"} {
		if err := serveHTTP(Addr(address).String(), PortLocal, "hello from the host\n"); err != nil {
			return err
		}
	}
	// As systemd-resolved: a resolver that only the host itself can ask.
	return serveNames("127.0.0.53", "stub")
}

func serveHTTP(ip string, port int, greeting string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, greeting) })
	mux.HandleFunc("GET /peer", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, r.RemoteAddr) })
	mux.HandleFunc("GET /bytes/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		io.CopyN(w, counter{}, n)
	})
	mux.HandleFunc("PUT /sha256", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		io.Copy(sum, r.Body)
		fmt.Fprintf(w, "%x\n", sum.Sum(nil))
	})
	l, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("serving HTTP: %w", err)
	}
	go http.Serve(l, mux)
	return nil
}

// counter is an endless stream of lines.
type counter struct{}

func (counter) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = "0123456789abcde\n"[i%16]
	}
	return len(b), nil
}

func serveTCP(ip string, port int, handle func(*net.TCPConn)) error {
	_, err := testserver.ListenTCP("tcp", net.JoinHostPort(ip, strconv.Itoa(port)), handle)
	return err
}

func serveUDP(ip string, port int, answer func(from net.Addr, b []byte) []byte) error {
	_, err := testserver.ListenUDP("udp", net.JoinHostPort(ip, strconv.Itoa(port)), answer)
	return err
}

func halfClose(c *net.TCPConn) {
	sum := sha256.New()
	n, err := io.Copy(sum, c)
	if err != nil {
		return
	}
	fmt.Fprintf(c, "%d %x\n", n, sum.Sum(nil))
}

func reset(c *net.TCPConn) {
	bufio.NewReader(c).ReadByte()
	c.SetLinger(0)
}

func greet(c *net.TCPConn) {
	io.WriteString(c, "goodbye\n")
	c.CloseWrite()
	io.Copy(io.Discard, c)
}

func tellPeer(c *net.TCPConn) { fmt.Fprintln(c, c.RemoteAddr()) }

func serveNames(ip, name string) error {
	address := net.JoinHostPort(ip, "53")
	pc, err := net.ListenPacket("udp", address)
	if err != nil {
		return fmt.Errorf("serving names: %w", err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("serving names: %w", err)
	}
	go (&dns.Server{PacketConn: pc, Handler: nameServer{name}}).ActivateAndServe()
	go (&dns.Server{Listener: l, Handler: nameServer{name}}).ActivateAndServe()
	return nil
}
