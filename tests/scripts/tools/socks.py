"""Fetch / of a host by SOCKS5 with a remote name: socks.py PROXY HOST PORT, where PROXY is unix:PATH."""
import socket
import struct
import sys

path, host, port = sys.argv[1].removeprefix("unix:"), sys.argv[2].encode(), int(sys.argv[3])
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
s.connect(path)
s.sendall(b"\x05\x01\x00")
if s.recv(2) != b"\x05\x00":
    sys.exit("not let in")
s.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host + struct.pack(">H", port))
reply = s.recv(10)
if reply[1]:
    sys.exit("refused: %d" % reply[1])
s.sendall(b"GET / HTTP/1.0\r\n\r\n")
while b := s.recv(65536):
    sys.stdout.write(b.decode())
