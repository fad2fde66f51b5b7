#!/usr/bin/python3
"""udp.py HOST PORT TEXT [SECONDS]: sends a datagram and says what comes back: an answer and its sender, an error, nothing."""
import errno, socket, sys
host, port, text = sys.argv[1], int(sys.argv[2]), sys.argv[3]
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(float((sys.argv[4:] or ["10"])[0]))
try:
    s.connect((host, port))
    s.send(text.encode())
    print("answer: " + s.recv(65535).decode().strip())
except TimeoutError:
    print("no answer")
except OSError as e:
    print(errno.errorcode.get(e.errno, str(e)))
