#!/usr/bin/python3
"""attachfds.py [-s] COMMAND...: runs the command with --ready-fd and --exit-fd after it, of pipes (or of sockets, -s).
Prints what arrives on the first, closes the other end of the second when the file let-go is there, and prints how the
command ended."""
import os, socket, subprocess, sys, time
args = sys.argv[1:]
ready, theirs = os.pipe()
if args[0] == "-s":
    args = args[1:]
    ours, exit = (s.detach() for s in socket.socketpair())
else:
    exit, ours = os.pipe()
command = subprocess.Popen(args + ["--ready-fd", str(theirs), "--exit-fd", str(exit)], pass_fds=(theirs, exit))
os.close(theirs)
os.close(exit)
print("command", command.pid, flush=True)
print("ready", os.read(ready, 10), os.read(ready, 10), flush=True)
os.write(ours, b"this means nothing")
while not os.path.exists("let-go") and command.poll() is None:
    time.sleep(0.02)
os.close(ours)
print("status", command.wait(), flush=True)
