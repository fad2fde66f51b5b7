#!/usr/bin/python3
"""who-says.py tcp|udp HOST PORT: tries to reach a port and says how that fails: the error, and the ICMP message's type and code
and who has sent it. Routers send no more than some errors a second (RFC 1812, section 4.3.2.8; Linux one to each sender after five
at once), so a datagram is repeated, as TCP's SYN is."""
import errno, ipaddress, socket, sys, time
how, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
v6 = ":" in host
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM if how == "tcp" else socket.SOCK_DGRAM)
s.setsockopt(*(socket.IPPROTO_IPV6, 25, 1) if v6 else (socket.IPPROTO_IP, 11, 1))  # RECVERR
s.settimeout(10 if how == "tcp" else 1.5)
end = time.monotonic() + 10
said = ""
try:
    s.connect((host, port))
    while how == "udp":
        s.send(b"hello")
        try:
            s.recv(100)
            break
        except TimeoutError as e:
            if e.errno or time.monotonic() > end:
                raise
    said = "it is reached"
except TimeoutError as e:
    said = "ETIMEDOUT" if e.errno == errno.ETIMEDOUT else "no answer"
except OSError as e:
    said = errno.errorcode.get(e.errno, str(e))
try:
    _, messages, _, _ = s.recvmsg(0, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    for _, _, b in messages:
        origin, kind, code = b[4], b[5], b[6]
        if origin in (2, 3):
            said += f": {kind}/{code} from {ipaddress.ip_address(b[24:40] if v6 else b[20:24])}"
except OSError:
    pass
print(said)
