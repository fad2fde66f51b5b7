#!/usr/bin/python3
"""connections.py HOST PORT COUNT: asks for TCP connections, all at once, and holds those that come about within four seconds;
says how many there are, then waits for its end."""
import errno, select, signal, socket, sys, time
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
asked = {}
for _ in range(count):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    s.setblocking(False)
    s.connect_ex((host, port))
    asked[s.fileno()] = s
held, poll, end = [], select.poll(), time.monotonic() + 4
for fd in asked:
    poll.register(fd, select.POLLOUT)
failed = set()
while asked and (left := end - time.monotonic()) > 0:
    for fd, _ in poll.poll(left * 1000):
        poll.unregister(fd)
        s = asked.pop(fd)
        if code := s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            failed.add(errno.errorcode[code])
        else:
            held.append(s)
print("held:", len(held), *failed, *(["no answer"] if asked else []), flush=True)
signal.pause()
