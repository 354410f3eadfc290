# What the walls must refuse, tried honestly from inside a run. Prints one line of
# JSON: what was refused, by name, and what was not, with a word on how.
import ctypes
import errno
import json
import os
import resource
import socket

SERVER = int(os.environ["PROBE_SERVER"])
CANARY = os.environ["PROBE_CANARY"]
KEY = os.environ.get("PROBE_KEY", "")
open_, refused = {}, []


def attempt(wall, what, action):
    try:
        action()
    except (OSError, MemoryError, AttributeError):
        refused.append(wall)
    else:
        open_.setdefault(wall, what)


def read(path):
    with open(path, "rb") as f:
        f.read(1)


def write(path):
    with open(path, "wb") as f:
        f.write(b"x")
    os.unlink(path)


def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


libc = ctypes.CDLL(None, use_errno=True)


def ptrace():
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(ctypes.c_long(0x4206), ctypes.c_long(SERVER), ctypes.c_void_p(0), ctypes.c_void_p(0)) < 0:  # PTRACE_SEIZE
        raise OSError(ctypes.get_errno(), "ptrace")


if KEY:
    attempt("key", "the credentials' file can be read", lambda: read(KEY))
attempt("files", "files of the server can be read", lambda: read(CANARY))
attempt("files", "a file can be written beside the server's", lambda: write(CANARY + ".new"))
attempt("files", "a file can be written in /tmp", lambda: write("/tmp/sandbox-probe-%d" % os.getpid()))
for name in ("environ", "mem", "maps", "fd/0", "root/etc/hostname"):
    attempt("server", "/proc of the server can be read: " + name, lambda: read("/proc/%d/%s" % (SERVER, name)))
attempt("server", "the server can be traced", ptrace)
attempt("server", "the server can be signalled", lambda: os.kill(SERVER, 0))
attempt("server", "limits of the server can be changed", lambda: resource.prlimit(SERVER, resource.RLIMIT_CORE))
for family, kind, name in (
    (socket.AF_INET, socket.SOCK_STREAM, "TCP"),
    (socket.AF_INET, socket.SOCK_DGRAM, "UDP"),
    (socket.AF_INET6, socket.SOCK_STREAM, "TCP over IPv6"),
    (socket.AF_UNIX, socket.SOCK_STREAM, "Unix"),
    (socket.AF_NETLINK, socket.SOCK_RAW, "netlink"),
):
    attempt("network", "a %s socket can be opened" % name, lambda: socket.socket(family, kind).close())
attempt("processes", "processes can be started", fork)
attempt("processes", "programs can be executed", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attempt("memory", "memory is not limited", lambda: bytearray(resource.getrlimit(resource.RLIMIT_AS)[0] if resource.getrlimit(resource.RLIMIT_AS)[0] > 0 else 1))
print(json.dumps({"refused": sorted(set(refused) - set(open_)), "open": open_}))
