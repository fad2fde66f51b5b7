#!/usr/bin/python3
"""connect.py HOST PORT [SECONDS]: says how a TCP connection attempt ends."""
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), float((sys.argv[3:] or ["10"])[0])).close()
    print("connected")
except TimeoutError as e:
    print("ETIMEDOUT" if e.errno == errno.ETIMEDOUT else "no answer")
except OSError as e:
    print(errno.errorcode.get(e.errno, str(e)))
