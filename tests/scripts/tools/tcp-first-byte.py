#!/usr/bin/python3
"""tcp-first-byte.py HOST PORT: connects and says what comes first: data, the end, or an error."""
import errno, socket, sys
try:
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
    b = s.recv(1000)
    print("data" if b else "end")
except OSError as e:
    print(errno.errorcode.get(e.errno, str(e)))
