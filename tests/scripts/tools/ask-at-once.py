#!/usr/bin/python3
"""ask-at-once.py HOST PORT COUNT: so many HTTP connections, all open before the first one asks; prints each different answer with how often it came."""
import collections, socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
open_ = [socket.create_connection((host, port), 20) for _ in range(count)]
answers = collections.Counter()
for s in open_:
    s.sendall(b"GET / HTTP/1.1\r\nHost: many\r\nConnection: close\r\n\r\n")
for s in open_:
    answer = b""
    while chunk := s.recv(65536):
        answer += chunk
    answers[answer.decode().splitlines()[-1]] += 1
for text, n in answers.items():
    print(f"{n} times: {text}")
