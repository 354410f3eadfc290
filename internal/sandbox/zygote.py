# The interpreter that waits. It has imported what the code of agents imports, does
# nothing but fork, and never runs foreign code itself: every run is a child of its
# own, used once. It is started by the launcher with an environment written from
# nothing, behind the outer walls; the child puts up the inner ones before the first
# line of foreign code. Whatever fails before that line ends the child.
#
# Messages are JSON in packets on descriptor 3:
#   to us:   {"id", "dir", "env", "limits", "landlock", "seccomp", "guard"} and two
#            descriptors, for standard output and standard error
#   from us: {"ready": {...}}, {"id", "pid"}, {"id", "status", "maxrss", "cpu"}
import array
import ast
import base64
import ctypes
import gc
import json
import linecache
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import traceback
import types
import warnings

CONTROL = 3
SETUP_FAILED = 125  # exit status: a wall could not be put up

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
SECCOMP_MODE_FILTER = 2
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_RULE_PATH_BENEATH = 1

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def check(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), what)
    return result


def prctl(option, argument):
    check(libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)), "prctl")


def syscall(number, *arguments):
    return check(libc.syscall(ctypes.c_long(number), *arguments), "system call %d" % number)


def landlock(plan):
    """Restricts this process to the paths of the plan, on top of what holds already."""
    if not plan:
        return
    attributes = struct.pack("=QQQ", plan["fs"], plan["net"], plan["scoped"])[: plan["size"]]
    ruleset = syscall(LANDLOCK_CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), ctypes.c_uint(0))
    for rule in plan["rules"]:
        try:
            path = os.open(rule["path"], os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        beneath = struct.pack("=Qi", rule["access"], path)
        syscall(LANDLOCK_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(LANDLOCK_RULE_PATH_BENEATH), ctypes.c_char_p(beneath), ctypes.c_uint(0))
        os.close(path)
    syscall(LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))
    os.close(ruleset)


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def seccomp(text):
    """Loads a filter for system calls, which the launcher's program has assembled."""
    if not text:
        return
    code = base64.b64decode(text)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    check(libc.prctl(ctypes.c_int(PR_SET_SECCOMP), ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(program), ctypes.c_ulong(0), ctypes.c_ulong(0)), "seccomp")


def child(request, out, err, parent):
    """Becomes one run and never returns."""
    status = SETUP_FAILED
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return  # it had ended before we asked to be told
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor, source in ((0, null), (1, out), (2, err)):
            os.dup2(source, descriptor)
        os.closerange(3, request["limits"]["files"] + 64)
        os.chdir(request["dir"])
        os.umask(0o077)
        os.environ.clear()
        os.environ.update(request["env"])
        with open("main.py", encoding="utf-8", errors="surrogateescape") as f:
            source = f.read()
        limits(request["limits"])
        landlock(request["landlock"])
        seccomp(request["seccomp"])
        status = run(source, request["guard"])
    except BaseException:
        # Nothing of this may end in the zygote's loop.
        try:
            traceback.print_exc()
        except BaseException:
            pass
    finally:
        os._exit(status)


def limits(wanted):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted["files"], wanted["files"]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (wanted["fileBytes"], wanted["fileBytes"]))
    resource.setrlimit(resource.RLIMIT_CPU, (wanted["cpuSeconds"], wanted["cpuSeconds"] + 1))
    resource.setrlimit(resource.RLIMIT_AS, (wanted["addressSpace"], wanted["addressSpace"]))
    os.nice(5)


def run(source, guard):
    """Runs foreign code as the module __main__ and returns its exit status."""
    for number, stream in ((1, "stdout"), (2, "stderr")):
        setattr(sys, stream, open(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False))
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.argv = ["main.py"]
    linecache.cache["main.py"] = (len(source), None, source.splitlines(True), "main.py")
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()  # or every run would draw the same numbers
    guard_reads(guard)
    main = types.ModuleType("__main__")
    main.__file__ = "main.py"
    sys.modules["__main__"] = main
    status = 0
    try:
        execute(source, main)
        threading._shutdown()  # what is left of threads belongs to the run
        save_figures()
    except SystemExit as e:
        status = exit_status(e)
    except BaseException as e:
        status = 1
        report(e)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            status = status or 1
    return status


def execute(source, main):
    """Runs the code; the value of a last line that is an expression is shown, as in a notebook."""
    tree = ast.parse(source, "main.py")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "main.py", "exec"), main.__dict__)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "main.py", "eval"), main.__dict__)
        if value is not None and type(value).__module__.split(".")[0] not in ("matplotlib",):
            print(value)


def report(error):
    """Prints a traceback that begins in the foreign code."""
    try:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == "<string>":
            trace = trace.tb_next
        traceback.print_exception(type(error), error, trace)
    except BaseException:
        # Not even the memory for a traceback.
        os.write(2, (type(error).__name__ + "\n").encode())


def exit_status(e):
    if e.code is None:
        return 0
    if isinstance(e.code, int):
        return e.code & 255
    print(e.code, file=sys.stderr)
    return 1


def save_figures():
    """Saves what was drawn and not saved: code that calls plt.show() means to show it."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    pictures = (".png", ".jpg", ".jpeg", ".svg", ".pdf")
    if pyplot is None or any(n.lower().endswith(pictures) for _, _, names in os.walk(".") for n in names):
        return
    for number in pyplot.get_fignums()[:4]:
        pyplot.figure(number).savefig("figure-%d.png" % number, dpi=120, bbox_inches="tight")


def guard_reads(guard):
    """Makes pandas.read_csv say at once what would end in a MemoryError after a minute:
    a whole read of columns that can't fit by a wide margin."""
    if not guard:
        return
    import functools

    import pandas

    read = pandas.read_csv

    def cost(usecols):
        order, costs = guard["order"], guard["columns"]
        if usecols is None:
            return sum(costs.values())
        if callable(usecols):
            return sum(costs[c] for c in order if usecols(c))
        return sum(costs[c] if isinstance(c, str) else costs[order[c]] for c in usecols)

    @functools.wraps(read)
    def read_csv(filepath_or_buffer, *args, **kwargs):
        bounded = any(kwargs.get(k) for k in ("nrows", "chunksize", "iterator", "skiprows", "skipfooter", "dtype")) or kwargs.get("nrows") == 0
        if not bounded and not args and isinstance(filepath_or_buffer, (str, os.PathLike)) and os.fspath(filepath_or_buffer) == guard["path"]:
            try:
                wanted = cost(kwargs.get("usecols"))
            except (LookupError, TypeError):
                wanted = 0  # pandas says better what is wrong with such a choice
            if wanted * 0.75 > guard["memory"]:
                raise MemoryError("this read would take about %d MiB, and a run has %d MiB; it was not begun" % (wanted / 1048576, guard["memory"] / 1048576))
        return read(filepath_or_buffer, *args, **kwargs)

    pandas.read_csv = read_csv


def warm():
    """Imports what the code of agents imports, and uses it once."""
    versions = {"python": sys.version.split()[0]}
    import numpy
    import pandas

    versions["pandas"], versions["numpy"] = pandas.__version__, numpy.__version__
    import io
    import collections, csv, datetime, decimal, itertools, math, random, re, statistics, time  # noqa

    frame = pandas.read_csv(io.StringIO("a,b,c\n1,x,2020-01-01\n2,y,2020-01-02\n"), parse_dates=["c"])
    frame.describe(include="all").to_string() if pandas.__version__ >= "2" else frame[["a", "b"]].describe(include="all").to_string()
    frame.groupby("b")["a"].mean().sort_values()
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot  # noqa

        warnings.filterwarnings("ignore", message=".*non-interactive.*cannot be shown.*")
        warnings.filterwarnings("ignore", message=".*non-GUI backend.*")
        versions["matplotlib"] = matplotlib.__version__
    except ImportError:
        pass
    return versions


def main():
    prctl(PR_SET_DUMPABLE, 0)
    control = socket.socket(fileno=CONTROL)
    control.set_inheritable(False)

    def send(message):
        control.send(json.dumps(message).encode())

    try:
        versions = warm()
    except ImportError as e:
        send({"failed": str(e)})
        return
    gc.collect()
    gc.freeze()
    wake, woken = os.pipe()
    for d in (wake, woken):
        os.set_blocking(d, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.set_wakeup_fd(woken)
    send({"ready": versions})
    runs = {}  # id by pid
    poll = select.poll()
    poll.register(CONTROL, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        events = dict(poll.poll())
        if wake in events:
            try:
                os.read(wake, 4096)
            except BlockingIOError:
                pass
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in runs:
                send({"id": runs.pop(pid), "status": status, "maxrss": usage.ru_maxrss, "cpu": usage.ru_utime + usage.ru_stime})
        if CONTROL not in events:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, 1 << 18, 2)
        if not message:  # the server is gone, and with it every reason to run
            for pid in runs:
                try:
                    os.killpg(pid, signal.SIGKILL)
                except OSError:
                    pass
            return
        request = json.loads(message)
        own = os.getpid()
        pid = os.fork()
        if pid == 0:
            child(request, *descriptors, own)
        runs[pid] = request["id"]
        for d in descriptors:
            os.close(d)
        send({"id": request["id"], "pid": pid})


main()
