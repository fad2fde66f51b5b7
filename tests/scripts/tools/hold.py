#!/usr/bin/python3
"""hold.py HOST PORT: holds one TCP connection, and at each SIGUSR1 asks over it; prints what comes back, or how it ended."""
import errno, signal, socket, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
print("connected", flush=True)
number = 0
while True:
    signal.sigwait({signal.SIGUSR1})
    number += 1
    try:
        s.sendall(b"GET /%d HTTP/1.1\r\nHost: held\r\n\r\n" % number)
        answer = ""
        while not answer.partition("\r\n\r\n")[2].endswith("\n") and (chunk := s.recv(65536)):
            answer += chunk.decode()
        print(f"answer {number}: {answer.splitlines()[-1] if answer else 'the end'}", flush=True)
    except OSError as e:
        print(f"answer {number}:", errno.errorcode.get(e.errno, str(e)), flush=True)
