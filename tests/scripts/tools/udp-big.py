#!/usr/bin/python3
"""udp-big.py HOST PORT SIZE: sends one large datagram to an echo server and says how much came back."""
import socket, sys
host, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.connect((host, port))
data = bytes(i * 7 % 251 for i in range(size))
s.send(data)
try:
    b = s.recv(65535)
    print(len(b), "came back" if b == data else "came back changed")
except TimeoutError:
    print("no answer")
