#!/usr/bin/python3
"""udpserver.py PORT: answers every datagram with its sender's address and its text, and prints the same."""
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.bind(("::", int(sys.argv[1])))
print("listening", flush=True)
while True:
    b, peer = s.recvfrom(65535)
    line = f"{peer[0].removeprefix('::ffff:')} said {b.decode()}"
    print(line, flush=True)
    s.sendto(line.encode() + b"\n", peer)
