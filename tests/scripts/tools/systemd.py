#!/usr/bin/python3
"""systemd.py COMMAND...: the part of systemd that a service with a store of descriptors sees: sd_notify(3),
FileDescriptorStoreMax=, Restart=on-failure. It starts the command, and again on SIGUSR1 when that was killed."""
import os, select, signal, socket, sys, tempfile
folder = tempfile.mkdtemp()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(folder + "/notify")
store = []  # (name, descriptor), as systemd keeps it: any number under one name
def start():
    pid = os.fork()
    if pid:
        return pid
    # Up first: a descriptor may lie where another is to be.
    kept = [os.dup2(fd, 500 + i) for i, (_, fd) in enumerate(store)]
    for i, fd in enumerate(kept):
        os.dup2(fd, 3 + i)
    os.closerange(3 + len(kept), 1000)
    os.environ["NOTIFY_SOCKET"] = folder + "/notify"
    if store:
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(kept)), LISTEN_FDNAMES=":".join(name for name, _ in store))
    os.execvp(sys.argv[1], sys.argv[1:])
def notified():
    message, fds, _, _ = socket.recv_fds(notify, 4096, 16)
    fields = dict(line.split("=", 1) for line in message.decode().split("\n"))
    name = fields.get("FDNAME")
    if "FDSTOREREMOVE" in fields:
        for entry in [entry for entry in store if entry[0] == name]:
            store.remove(entry)
            os.close(entry[1])
        print("removed", name, flush=True)
    elif "FDSTORE" in fields:
        store.extend((name, fd) for fd in fds)
        print("stored", name, flush=True)
    elif fields.get("READY") == "1":
        print("ready", flush=True)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
main = start()
end = os.pidfd_open(main)
while True:
    ready, _, _ = select.select([notify, end], [], [])
    if notify in ready:  # all of it before the end of who sent it
        notified()
        continue
    _, status = os.waitpid(main, 0)
    print("ended", status, flush=True)
    if not os.WIFSIGNALED(status):
        sys.exit(0)
    signal.sigwait({signal.SIGUSR1})
    os.close(end)
    main = start()
    end = os.pidfd_open(main)
