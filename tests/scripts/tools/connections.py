#!/usr/bin/python3
"""connections.py HOST PORT COUNT: opens TCP connections and holds them; says how many there are, then waits for its end."""
import errno, signal, socket, sys
held, failed = [], set()
for _ in range(int(sys.argv[3])):
    try:
        held.append(socket.create_connection((sys.argv[1], int(sys.argv[2])), 3))
    except OSError as e:
        failed.add(errno.errorcode.get(e.errno, str(e)))
print("held:", len(held), *failed, flush=True)
signal.pause()
