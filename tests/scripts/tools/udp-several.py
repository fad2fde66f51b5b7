#!/usr/bin/python3
"""udp-several.py HOST PORT N SIZE [together]: sends N datagrams of SIZE bytes, of which the last is shorter, by one call
(UDP_SEGMENT), and says how many came back from
udp-several.py serve PORT [together], which answers all of them by one call. "together": whoever gets several at once takes
them so (UDP_GRO), and says how many calls that were."""
import socket, struct, sys
UDP_SEGMENT, UDP_GRO = 103, 104

def receive(s, n):
    """The next n datagrams, in how many calls, whose they are and where they were sent to."""
    got, calls = [], 0
    while len(got) < (n or 1):
        b, control, _, peer = s.recvmsg(65535, 100)
        control = {kind: data for _, kind, data in control}
        size = struct.unpack("i", control[UDP_GRO])[0] if UDP_GRO in control else len(b)
        got += [b[i:i + size] for i in range(0, len(b), size)]
        n, calls = n or got[0][1], calls + 1
    return got, calls, peer, control.get(socket.IPV6_PKTINFO)

def send(s, datagrams, peer, source=None):
    control = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", len(datagrams[0])))]
    if source:
        control.append((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source[:16] + bytes(4)))
    s.sendmsg([b"".join(datagrams)], control, 0, peer)

args = [a for a in sys.argv[1:] if a != "together"]
family = socket.AF_INET6 if args[0] == "serve" or ":" in args[0] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
if "together" in sys.argv:
    s.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
if args[0] == "serve":
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    s.bind(("::", int(args[1])))
    print("listening", flush=True)
    while True:
        got, calls, peer, source = receive(s, 0)
        print(len(got), "came in", calls, flush=True)
        send(s, got, peer, source)
n, size = int(args[2]), int(args[3])
s.settimeout(10)
sent = [bytes([i, n]) * (size // 2) for i in range(n)]
sent[-1] = sent[-1][:size // 4 * 2]
send(s, sent, (args[0], int(args[1])))
try:
    got, calls, _, _ = receive(s, n)
    print(len(got), "came back" if got == sent else "came back changed", "in", calls)
except TimeoutError:
    print("some did not come back")
