"""The fork server: runs inside the pool's Python, imports modules once, then forks for each case.

How the case comes to run exactly where the interpreter would run it, with no frame of ours below it:

* This folder is first on PYTHONPATH and Python is started as ``python -m sharedenv-fork-server``. ``site`` imports this file
  (hence its name) before the interpreter looks for what to run. It hides its tracks and puts an object of ours into
  sys.modules as ``runpy``: ``-m`` makes the interpreter take ``_run_module_as_main`` from there and call it from C.
* That object calls its steps through C functions alone (`map`, `filter`, `next`). The first is the server's loop, which returns
  in a forked child only; later ones compile and run the case's script. So ``sys._getframe().f_back`` is None there, tracebacks
  begin with the script, and all that follows is the interpreter's own: sys.excepthook, SystemExit, KeyboardInterrupt,
  threading's shutdown, atexit, destructors.
* The end of a process with thousands of modules takes long, nearly all of it for clearing what was loaded before the fork and
  has nothing to tell. So, once the interpreter begins to clear modules, those leave sys.modules (and live on, held by a ring
  that is never collected); it clears what belongs to the script, and when that is done C's ``exit`` ends the process with the
  status it would have had. Where that status is not certain, the end takes its full length.
* What libraries have put down for C's ``exit`` (destructors of C++, OpenSSL's own) only frees memory, and each page it touches is copied:
  half of a short case's time. So ``exit`` stops where it comes to what was put down before the fork, if all libraries are known ones.

One file, since what stands beside it on PYTHONPATH would come before the modules of scripts. Standard library only, Python 3.8
and newer. What it imports is what every interpreter has loaded at its start, and some C modules
that leave sys.modules again before the script's imports are made (only atexit stays, before 3.10).

Protocol, on the stream socket whose number is in SHAREDENV_FORK_SERVER (with a + behind it when PYTHONPATH was set): frames of a
4-byte little-endian length and a marshalled tuple; paths and arguments are bytes. The client sends ("preload", statements, name of the
script, an empty folder), each statement being (source, top-level names), and for each case ("start", number, script, arguments, variables,
CPUs to bind it to, the script's real folder) with its stdout, stderr and folder, and what holds its place, as SCM_RIGHTS. The server
answers ("ready", top-level names loaded, those looked for in vain, endings of a module's file name, why it did not execute all
statements) or ("refused", why); then
("started", number, pid), ("failed", number, errno) and ("ended", pid, status, CPU seconds, kilobytes at most that it did not share).
"""

# mypy: ignore-errors
# (it runs in other Pythons, on C modules that have no stubs: the conformance suite checks it, in each version)

import sys

VARIABLE = "SHAREDENV_FORK_SERVER"

#: modules that must not be forked once they are loaded; those that start threads or open devices are found anyway
UNSAFE = {
    "mpi4py.MPI": "mpi4py starts MPI when it is imported",
    "petsc4py.PETSc": "petsc4py starts MPI",
    "cupy": "cupy uses CUDA, which does not survive a fork",
    "pycuda.driver": "pycuda uses CUDA, which does not survive a fork",
    "pyopencl": "pyopencl uses OpenCL, which does not survive a fork",
    "jax": "jax has threads, which do not survive a fork",
    "tensorflow": "tensorflow has threads, which do not survive a fork",
    "ray": "ray talks to processes of its own",
}


#: what may be loaded when C's `exit` is cut short: none of it has anything to write or to tell at the end. Folders of site-packages,
KNOWN_PACKAGES = {
    *("PIL", "contourpy", "fontTools", "kiwisolver", "matplotlib", "matplotlib.libs", "numpy", "numpy.libs"),
    *("pandas", "pandas.libs", "pillow.libs", "scikit_learn.libs", "scipy", "scipy.libs", "sklearn"),
}
#: and libraries of the system and of Python, up to ".so" and without the figures at the end
KNOWN_LIBRARIES = {
    *("ld", "ld-linux-aarch", "ld-linux-x", "libbz", "libc", "libcrypt", "libcrypto", "libdl", "libexpat", "libffi", "libgcc_s"),
    *("libgfortran", "libgomp", "liblzma", "libm", "libmpdec", "libpthread", "libpython", "libquadmath", "librt", "libsqlite"),
    *("libssl", "libstdc++", "libutil", "libuuid", "libz", "libzstd"),
}


class Refused(Exception):
    """These imports are not safe to fork; the argument says why."""


class State:
    """What the steps hand to each other. In the child, ``status`` is the exit status once that is certain."""

    here = ""  # where the imports were made: on sys.path in place of the script's folder
    steps: list = []  # still to call, the next one last
    case: tuple = ()  # interpreter, script, arguments
    loaded: dict = {}  # name → module, of what was loaded before the fork, but sys and builtins
    before = 0  # how many entries sys.modules had when the script began
    exchange = None  # what gives each of two dicts what the other has
    peak = page = 0  # kilobytes that the server had resident; bytes of a page
    tools: tuple = ()
    watched: list = []  # weak references to what was there before the fork and has a destructor
    compiled: tuple = ()  # the bytes of a script, and their code or None
    own: tuple = ()  # what the server needs, and a case is not to take apart: each page that it writes to is copied
    seed = None  # sets the state of numpy's global generator
    exit = None  # C's exit; None where there is no _ctypes
    status = None
    caught = None  # what became of the script: a Caught
    catcher = None


class Caught(StopIteration):
    """Carries the script's exception, as __context__, out of the C function that ran it; `next` ends it there."""


# --- where the interpreter comes to us ---------------------------------------------------------------------------------------


def plant():
    """Takes our entries out of the environment and puts our steps where the interpreter will call them."""
    import os

    here = os.path.dirname(__file__)
    descriptor = os.environ.pop(VARIABLE)
    if descriptor.endswith("+"):
        os.environ["PYTHONPATH"] = os.environ["PYTHONPATH"].partition(here)[2][1:]
    else:
        del os.environ["PYTHONPATH"]
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)

    loaded = set(sys.modules)
    import _functools
    import _io
    import _operator

    call = _operator.methodcaller("__call__")

    class Entry:
        # the interpreter calls it with two arguments: the look-up of __call__ makes the steps, _operator.eq takes the arguments
        __call__ = property(_operator.methodcaller("make_steps"))

    class Catcher(_io._IOBase):
        # close() calls flush() (the script), keeps its exception aside, sets an attribute, and chains the two exceptions. What
        # sets the attribute is C alone (max calls its key, which calls `carry`): a tracer of the script sees nothing of us
        pass

    setattr(Catcher, "__IOBase_closed", property(None, _functools.partial(max, key=_operator.methodcaller("carry"))))

    def sequence(steps):
        # calls each from C as long as they return None, which `filter` drops
        return _functools.partial(next, filter(None, map(call, steps)), _operator.eq)

    def run(code, scope):
        catcher = Catcher()
        State.caught = Caught()
        catcher.__dict__.update(flush=_functools.partial(exec, code, scope), carry=_functools.partial(raise_it(), State.caught))
        State.catcher = catcher  # never to be collected: its destructor would close it again
        return _functools.partial(next, map(call, iter([catcher.close])), None)

    def untraced(found):
        # steps, the last one first: put into `found` the script's tracer and profiler, and take them away
        kept = _functools.partial(found.extend, map(call, [sys.gettrace, sys.getprofile]))
        return [_functools.partial(sys.setprofile, None), _functools.partial(sys.settrace, None), kept]

    entry = Entry()
    entry.make_steps = sequence(iter(State.steps.pop, None))
    entry._run_module_as_main = entry
    State.tools = (_functools.partial, run, untraced)
    State.steps[:] = [None, prepare, _functools.partial(serve, int(descriptor.rstrip('+')))]
    forget(loaded)
    sys.modules["runpy"] = entry


def forget(loaded):
    """Takes the modules that were imported since out of sys.modules: a later import makes them anew."""
    keep = "atexit" if sys.version_info < (3, 10) else ""  # a second atexit would lose what was registered with the first
    for name in [name for name in sys.modules if name not in loaded and name != keep]:
        del sys.modules[name]


def the_users_own():
    """Another sitecustomize further down sys.path is imported as if we were not there. Raises ImportError where there is none."""
    del sys.modules["sitecustomize"]
    import sitecustomize  # noqa: F401 - for what it does


# --- the server ----------------------------------------------------------------------------------------------------------------


class Link:
    """The socket to the client."""

    def __init__(self, descriptor):
        import _socket
        import marshal

        self.socket = _socket.socket(fileno=descriptor)
        self._space = _socket.CMSG_SPACE(4 * 253)  # as many as there can be
        self._marshal = marshal

    def receive(self):
        """One frame and the descriptors that came with it; (None, []) at the end of the stream."""
        head, ancillary, _, _ = self.socket.recvmsg(4, self._space)
        if len(head) < 4:
            return None, []
        found = []
        for _, _, data in ancillary:
            found += [int.from_bytes(data[i : i + 4], sys.byteorder) for i in range(0, len(data), 4)]
        left = int.from_bytes(head, "little")
        chunks = []
        while left:
            chunk = self.socket.recv(min(left, 65536))
            if not chunk:
                return None, []
            chunks.append(chunk)
            left -= len(chunk)
        return self._marshal.loads(b"".join(chunks)), found

    def send(self, *message):
        """One frame."""
        data = self._marshal.dumps(message, 2)
        self.socket.sendall(len(data).to_bytes(4, "little") + data)


def serve(descriptor):
    """Imports, then forks for each request; ends with the client. Returns only in a forked child."""

    loaded = set(sys.modules) - {"runpy"}
    import atexit
    import fcntl
    import gc

    del sys.modules["runpy"]
    link = Link(descriptor)
    State.exit = c_function("exit")
    atexit.register(leave)
    for set_it in (sys.setprofile, sys.settrace):
        atexit.register(set_it, None)  # just before: a tracer of the script is not to see us
    end_with_client(fcntl, descriptor, True)
    forget(loaded)
    compile("", "", "exec")  # makes the compiler's types, which each case would make for itself: longer than a short script takes
    warm_up(link, fcntl, loaded)
    State.seed = seed_of_numpy()
    cut_exit_short()
    State.exchange = exchange_of_dicts()
    forget({*State.loaded, *KEPT})
    gc.collect()
    State.watched = with_destructors(gc.get_objects()) or []
    ring = [State]
    ring.append(ring)
    del ring, loaded  # what a case would take apart on its way out of here would be copied for it
    wait_for_cases(link, gc)


def fill_holes():
    """Objects in what is free between others. What a case makes lies side by side then, in pages of its own.

    Else it would lie in hundreds of pages that hold something of the server's, too: each is copied for the case, once it is written to.
    """
    held = []
    # Python has pools for each size up to 512, with 33 bytes of its own in `bytes`; C's allocator has 8 more, and some of each size at hand
    small, large = [(size, size - 33) for size in range(48, 513, 16)], [*range(528, 1040, 16), 65536, 16384, 4096, 1024]
    for size, length in [(16, None), *small, *((size, size - 48) for size in large)]:
        last = beside = 0
        for _ in range((1 << 20) // size):
            held.append(object() if length is None else bytes(length))
            beside = beside + 1 if id(held[-1]) == last + size else 0
            last = id(held[-1])
            if beside > max(2, 2000 // size):
                break  # it is a free page
    return held


def warm_up(link, fcntl, loaded):
    """Makes the imports that the client asks for, and tells what has come of them."""
    import os

    (_, statements, script, folder, source), _ = link.receive()
    witness = Witness()
    try:
        os.chdir(folder)
        os.environ["PWD"] = os.getcwd()  # who keeps it has looked at the script's folder
        why = preload(statements, os.fsdecode(script), witness)
        os.chdir("/")
    except Refused as refused:
        link.send("refused", str(refused))
        os._exit(0)
    end_with_client(fcntl, link.socket.fileno(), False)
    State.loaded.update((name, module) for name, module in sys.modules.items() if name not in ("sys", "builtins"))
    names = {name.partition(".")[0] for name in State.loaded if name not in loaded} - set(sys.builtin_module_names)
    missing = {name.partition(".")[0] for name in witness.asked if name not in sys.modules}
    State.compiled = source, compiled(source)
    link.send("ready", sorted(names), sorted(missing - names), module_endings(), why)


def compiled(source):
    """The code of the script that the imports are of: of most cases it is a copy. None where each case is to see what that says."""
    import warnings

    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            code = compile(source, "", "exec", dont_inherit=True)
    except BaseException:
        return None
    return None if told else code


def named(code, script):
    """The same code, of another file."""
    kind = type(code)
    inner = [named(value, script) if isinstance(value, kind) else value for value in code.co_consts]
    return code.replace(co_filename=script, co_consts=tuple(inner))


def unshared(usage):
    """Kilobytes at most that a case had for itself.

    The kernel counts what is resident, be it copied or still shared. So: what it has touched, or what it had beyond the server where that
    is more (one fault may be a huge page).
    """
    touched = usage.ru_minflt * (State.page // 1024)
    return min(usage.ru_maxrss, max(touched, usage.ru_maxrss - State.peak))


class Ends:
    """Cases that have ended. SIGCHLD writes into a pipe that the loop waits for beside the link.

    A handler that reaps would not do: Python calls it before a system call or after one that was interrupted, and a signal that
    comes just in between is heard with the next one only, which for the last case of a run never comes.
    """

    def __init__(self):
        import _signal
        import os

        self.descriptor, self._told = os.pipe()
        for descriptor in (self.descriptor, self._told):
            os.set_blocking(descriptor, False)
        self._handler = _signal.signal(_signal.SIGCHLD, lambda *_: None)
        self._before = _signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)

    def tell(self, link):
        """Waits for all that have ended, and tells the client."""
        import os

        os.read(self.descriptor, 4096)
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            link.send("ended", pid, status, usage.ru_utime + usage.ru_stime, unshared(usage))

    def forget(self):
        """In a case: everything as it was."""
        import _signal
        import os

        _signal.set_wakeup_fd(self._before)
        _signal.signal(_signal.SIGCHLD, self._handler)
        for descriptor in (self.descriptor, self._told):
            os.close(descriptor)


def wait_for_cases(link, gc):
    """The loop: what the client asks for, and who has ended; an end is never told before its beginning."""
    import _signal
    import os

    ours = set(sys.modules)
    import resource  # and wait4 imports it each time
    import select

    State.peak, State.page = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, resource.getpagesize()

    ours ^= set(sys.modules)
    State.own = resource, select
    old_mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGINT})
    ends = Ends()
    news = select.poll()
    for descriptor in (ends.descriptor, link.socket):
        news.register(descriptor, select.POLLIN)
    State.own += ends, news, ours, link
    State.own += (fill_holes(),)
    gc.disable()  # until the script: what it would move is shared memory
    gc.freeze()
    while True:
        where = [descriptor for descriptor, _ in news.poll()]
        if ends.descriptor in where:
            ends.tell(link)
        if link.socket.fileno() not in where:
            continue
        request, descriptors = link.receive()
        if request is None:
            os._exit(0)
        _, number, script, arguments, variables, cpus, beside = request
        try:
            pid = os.fork()
        except OSError as error:
            link.send("failed", number, error.errno)
        else:
            if not pid:
                os.setpgid(0, 0)
                ends.forget()
                link.socket.close()
                for name in ours:
                    del sys.modules[name]
                set_variables(variables)
                if cpus:
                    os.sched_setaffinity(0, cpus)
                become(os.fsdecode(script), [os.fsdecode(word) for word in arguments], os.fsdecode(beside), descriptors)
                _signal.pthread_sigmask(_signal.SIG_SETMASK, old_mask)
                gc.enable()
                return
            try:
                os.setpgid(pid, pid)
            except OSError:
                pass  # it was quicker, and is gone or has started another program
            link.send("started", number, pid)
        for descriptor in descriptors:
            os.close(descriptor)


def end_with_client(fcntl, descriptor, wanted):
    """Whether the kernel ends us when the client goes: during the imports nobody looks at the link, and nothing else comes on it."""
    import os

    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC if wanted else flags & ~os.O_ASYNC)


def module_endings():
    """What the file of a top-level module may end in."""
    import _imp

    return [".py", ".pyc", *_imp.extension_suffixes()]


def c_function(name):
    """A function of C's as a function of numbers and addresses, or None."""
    try:
        import _ctypes

        address = _ctypes.dlsym(_ctypes.dlopen(None, 0), name)
        call = _ctypes.call_function
    except (ImportError, OSError, AttributeError):
        return None
    return lambda *given: call(address, given)


def address_type():
    """What hands an address to a function of C's."""
    import _ctypes

    class Address(_ctypes._SimpleCData):
        _type_ = "P"

    return Address


def exchange_of_dicts():
    """A function that gives each of two dicts what the other has, and touches none of that; None where it can't be done."""
    copy = c_function("memcpy")
    if copy is None:
        return None
    import _ctypes

    Address, head = address_type(), object.__basicsize__
    size = dict.__basicsize__ - head

    class Space(_ctypes.Array):
        _type_, _length_ = Address, size // 8 + 1

    def exchange(one, other):
        first, second = Address(id(one) + head), Address(id(other) + head)
        copy(space, first, size)
        copy(first, second, size)
        copy(second, space, size)

    space, one, other = Space(), {"a": 1}, {}
    exchange(one, other)
    return exchange if (one, other) == ({}, {"a": 1}) else None


def seed_of_numpy():
    """A function that puts bytes where numpy's global generator has its 624 words; None where they are not found there.

    What numpy has for it converts each word, and touches a hundred pages.
    """
    copy, generator = c_function("memcpy"), getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)
    try:
        import ctypes

        place, size = generator._bit_generator.ctypes.state_address, 4 * 624
        state = generator.get_state()
        if copy is None or state[0] != "MT19937" or state[3:] != (0, 0.0) or state[1].tobytes() != ctypes.string_at(place, size):
            return None
        place = ctypes.c_void_p(place)
    except Exception:
        return None
    return lambda words: copy(place, words, size)


def cut_exit_short():
    """Has C's `exit` end the process where it comes to what was put down for it until now. What a case puts down comes before."""
    at_exit, on_exit = c_function("__cxa_atexit"), c_function("on_exit")
    if at_exit is None or on_exit is None or not all(map(is_known, loaded_files())):
        return
    import _ctypes

    Address, program = address_type(), _ctypes.dlopen(None, 0)
    on_exit(Address(_ctypes.dlsym(program, "_exit")), None)  # called with the status
    at_exit(Address(_ctypes.dlsym(program, "fflush")), None, None)  # called before it, with the first None: all streams


def loaded_files():
    """The files that this process has mapped to execute."""
    with open("/proc/self/maps", "rb", 0) as file:
        rows = [line.split(None, 5) for line in file.readall().splitlines()]
    return {row[5].decode("utf-8", "replace") for row in rows if len(row) == 6 and b"x" in row[1] and row[5].startswith(b"/")}


def is_known(path):
    """Whether this library, module or program has nothing to do when a process ends."""
    import os

    folders, name = path.split("/")[:-1], os.path.basename(path)
    for packages in ("site-packages", "dist-packages"):
        if packages in folders:
            return [*folders, name][folders.index(packages) + 1] in KNOWN_PACKAGES
    if "lib-dynload" in folders or path == os.path.realpath(sys.executable):
        return True
    return name.partition(".so")[0].rstrip("-.0123456789") in KNOWN_LIBRARIES


# --- the imports ---------------------------------------------------------------------------------------------------------------


def preload(statements, script, witness):
    """Executes the statements as the script would; why not all of them, "" when all are done. Raises Refused."""
    import os

    here = State.here = os.getcwd()  # empty, and ours alone: whoever keeps it has looked at the script's folder
    if not getattr(sys.flags, "safe_path", False):
        sys.path_importer_cache.pop(sys.path[0], None)
        sys.path[0] = here  # in place of where `-m` looks
    script = os.path.join(here, script)
    before = look()
    sys.modules["__main__"].__file__ = script  # without it, some modules think that a person is typing
    sys.argv[:] = [script]
    scope = {"__name__": "__main__"}
    why = ""
    sys.meta_path.insert(0, witness)
    for source, names in statements:
        missing = [name for name in names if not findable(name)]
        if missing:
            why = "no module %s outside the script's folder" % missing[0]
            break
        try:
            exec(compile(source, script, "exec", dont_inherit=True), scope)
        except BaseException as error:
            raise Refused("`%s` fails with %s" % (source, type(error).__name__)) from None
        compare(before, source, witness)
    scope.clear()
    sys.meta_path.remove(witness)
    if os.getcwd() != here:
        raise Refused("an import changes the current folder")
    kept = keeps_its_own(here)
    if kept:
        raise Refused(kept)
    return why


class Witness:
    """First on sys.meta_path during the imports: finds nothing, sees what is looked for and how the global generators begin."""

    def __init__(self):
        self.asked = set()
        self._first = {}  # generator → its state when it was first seen

    def find_spec(self, name, *_):
        self.asked.add(name)
        if len(self._first) < 2:
            self.disturbed()

    def disturbed(self):
        """The global generator of random numbers that was seeded or used since it was first seen, or None."""
        states = states_of_generators()
        return next((name for name, state in states.items() if self._first.setdefault(name, state) != state), None)


def states_of_generators():
    """The state of each global generator of random numbers that is loaded."""
    states = {}
    standard = getattr(sys.modules.get("random"), "_inst", None)
    if standard is not None:
        states["random"] = standard.getstate()
    numpys = getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)
    if numpys is not None:
        states["numpy.random"] = [part.tobytes() if hasattr(part, "tobytes") else part for part in numpys.get_state()]
    return states


def findable(name):
    """Whether a top-level module is there without the script's folder."""
    if name in sys.modules:
        return True
    return any(finder.find_spec(name, None) is not None for finder in sys.meta_path if not isinstance(finder, Witness))


def look():
    """What imports should leave alone: open files, size of the outputs, who is traced, where output goes."""
    import os

    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    files = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            files[name] = os.readlink("/proc/self/fd/" + name)
        except OSError:
            pass  # the listing's own
    with open("/proc/self/maps", "rb", 0) as file:
        lines = file.readall().splitlines()
    shared = {line.split()[0] for line in lines if line.split()[1].endswith(b"s") and b"w" in line.split()[1]}
    written = os.fstat(1).st_size + os.fstat(2).st_size
    return files, written, (sys.gettrace(), sys.getprofile()), (sys.stdin, sys.stdout, sys.stderr), shared


def compare(before, source, witness):
    """Raises Refused when the statement that was just executed left something that a fork can't share."""
    import os

    for name, why in UNSAFE.items():
        if name in sys.modules:
            raise Refused(why)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise Refused("torch has started CUDA, which does not survive a fork")
    if lasting_threads():
        raise Refused("`%s` starts threads" % source)
    files, written, traced, streams, shared = look()
    if streams != before[3]:
        raise Refused("`%s` replaces the standard streams" % source)
    if written != before[1]:
        raise Refused("`%s` writes output" % source)
    if traced != (None, None):
        raise Refused("a tracer or profiler is at work")
    opened = sorted(path for name, path in files.items() if before[0].get(name) != path and path != "/dev/null")
    if opened:
        kind, number, _ = opened[0].partition(":[")
        raise Refused("`%s` keeps %s open" % (source, "a " + kind if number else opened[0]))
    if shared - before[4]:
        raise Refused("`%s` keeps memory that forks share" % source)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass
    else:
        raise Refused("`%s` starts a process" % source)
    compare_traces(source, witness)


def compare_traces(source, witness):
    """The same for what each start would have done by itself: its own files, its own random numbers."""
    import os

    if getattr(sys.modules.get("tempfile"), "_name_sequence", None) is not None:
        raise Refused("`%s` makes temporary files" % source)
    if os.listdir(State.here):
        raise Refused("`%s` writes to the current folder" % source)
    generator = witness.disturbed()
    if generator:
        raise Refused("`%s` seeds or uses the global generator of %s" % (source, generator))


def lasting_threads():
    """Whether there are threads that a fork does not end. OpenBLAS, for one, stops its own before a fork and starts them later."""
    import os
    import time

    if len(os.listdir("/proc/self/task")) == 1:
        return False
    threading = sys.modules.get("threading")
    deadline = time.monotonic() + 0.3  # one that was told to end (a timer that was cancelled) needs a moment
    while threading is not None and threading.active_count() > 1:
        if time.monotonic() > deadline:
            return True
        time.sleep(0.001)
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    for _ in range(100):
        if len(os.listdir("/proc/self/task")) == 1:
            return False
        time.sleep(0.001)
    return True


def keeps_its_own(here):
    """What a module has remembered that is not the same for every case, in words, or None."""
    import os

    process = os.getpid()
    paths = tuple(kind for kind in (getattr(sys.modules.get("pathlib"), "PurePath", None),) if kind)
    generators = kinds_of_generators()
    known = {id(getattr(sys.modules.get(module), name, None)) for module, name in RESEEDED}
    for name, module in list(sys.modules.items()):
        if module is sys.modules["__main__"]:
            continue  # each case has another
        try:
            variables = object.__getattribute__(module, "__dict__")  # without loading one that waits for its first use
        except AttributeError:
            continue
        for variable, value in list(variables.items()):
            where = "%s.%s" % (name, variable)
            if isinstance(value, (str, *paths)):
                if str(value).startswith(here) and where not in SET_RIGHT:
                    return "%s remembers the folder it was imported in" % where
            elif type(value) is int:
                if value == process and "pid" in variable.lower():
                    return "%s remembers the process it was imported in" % where
            elif type(value) in generators and id(value) not in known:
                return "%s would give all cases the same random numbers" % where
    return None


def kinds_of_generators():
    """The classes of generators of random numbers that are loaded."""
    mtrand, generator = sys.modules.get("numpy.random.mtrand"), sys.modules.get("numpy.random._generator")
    kinds = (getattr(mtrand, "RandomState", None), getattr(generator, "Generator", None))
    return {kind for kind in (getattr(sys.modules.get("random"), "Random", None), *kinds) if kind is not None}


#: generators that each case seeds anew, since they are never seeded when they are imported
RESEEDED = (("random", "_inst"), ("numpy.random.mtrand", "_rand"), ("sympy.core.random", "rng"))
#: paths that are set right in each case
SET_RIGHT = {"multiprocessing.process.ORIGINAL_DIR"}


# --- the child -----------------------------------------------------------------------------------------------------------------


def become(script, arguments, beside, descriptors):
    """Everything that a start of `python SCRIPT ARGUMENT…` in this folder would have found, up to the script itself."""
    import os

    stdout, stderr, folder = descriptors[:3]  # the others hold its place
    os.fchdir(folder)
    for descriptor, number in ((stdout, 1), (stderr, 2)):
        os.dup2(descriptor, number)
    for descriptor in descriptors[:3]:
        os.close(descriptor)
    open_streams()
    State.case = (script,)
    sys.argv[:] = [script, *arguments]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[:] = [sys.orig_argv[0], script, *arguments]
    if State.here in sys.path:
        sys.path[sys.path.index(State.here)] = beside
    sys.path_importer_cache.pop(State.here, None)
    renew_modules()


def set_variables(variables):
    """Sets variables of the environment, without what `os.environb.update` would look at first."""
    import os

    for name, value in variables.items():
        os.putenv(name, value)
    os.environb._data.update(variables)


def renew_modules():
    """What modules hold of their process, made this one's."""
    import os

    threading = sys.modules.get("threading")
    if threading is not None and hasattr(threading, "get_native_id"):
        threading.main_thread()._native_id = threading.get_native_id()
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.ORIGINAL_DIR = os.getcwd()
        process.current_process().authkey = os.urandom(32)
    logging = sys.modules.get("logging")
    if logging is not None:
        time = sys.modules["time"]
        logging._startTime = time.time_ns() if isinstance(logging._startTime, int) else time.time()
    for name, generator in RESEEDED:
        found = getattr(sys.modules.get(name), generator, None)
        if name == "numpy.random.mtrand" and State.seed is not None:
            State.seed(os.urandom(4 * 624))
        elif name == "numpy.random.mtrand" and found is not None:
            # as much from the system as the state has: `seed()` would take less, but touches twice as many pages
            words = sys.modules["numpy"].frombuffer(os.urandom(4 * 624), "uint32")
            found.set_state(("MT19937", words, 624, 0, 0.0))
        elif name != "random" and found is not None:  # which does it by itself
            found.seed()


def open_streams():
    """Makes the outputs anew, in place (somebody may hold them), as the interpreter makes them for what is open now."""
    import _io

    for number, name in ((1, "stdout"), (2, "stderr")):
        text = getattr(sys, name)
        buffer = text.buffer
        encoding, errors = text.encoding, text.errors
        line_buffering, write_through = text.line_buffering, text.write_through
        raw = _io.FileIO(number, "wb", closefd=False)  # a new one: whether it can seek is found out once
        raw.name = "<%s>" % name
        if isinstance(buffer, _io.FileIO):
            buffer = raw
        else:
            size = raw._blksize
            if sys.version_info >= (3, 14):
                size = max(min(size, 8 << 20), 128 << 10)
            buffer.__init__(raw, size if size > 1 else 8192)
            line_buffering = line_buffering or raw.isatty()
        text.__init__(buffer, encoding, errors, "\n", line_buffering, write_through)


def prepare():
    """The step after the fork: compiles the script and puts the next steps in place."""
    import os

    partial, run, untraced = State.tools
    (script,) = State.case
    try:
        with open(script, "rb") as file:
            source = file.read()
    except OSError as error:
        os.write(2, os.fsencode("%s: can't open file %r: [Errno %d] %s\n" % (sys.executable, script, error.errno, error.strerror)))
        os._exit(2)
    # a new module, since the collector never looks at what was there before the fork
    old = sys.modules["__main__"]
    module = sys.modules["__main__"] = type(sys)("__main__")
    if sys.modules.get("__mp_main__") is old:
        del sys.modules["__mp_main__"], State.loaded["__mp_main__"]
        sys.modules["__mp_main__"] = module  # multiprocessing's other name for it
    State.before = len(sys.modules)
    scope = module.__dict__
    scope.clear()
    scope.update(old.__dict__)
    if "__annotations__" in scope:
        scope["__annotations__"] = {}
    scope.pop("__file__")
    scope["__file__"] = script
    scope["__cached__"] = None
    scope["__loader__"] = type(__loader__)("__main__", script)
    known, code = State.compiled
    try:
        code = named(code, script) if code and source == known else compile(source, script, "exec", dont_inherit=True)
    except BaseException as error:
        State.steps.append(partial(raise_it(), error.with_traceback(None)))
        return
    tracers = []
    State.steps[:] = [None, partial(decide, scope, tracers), *untraced(tracers), run(code, scope)]


def raise_it():
    """A C function that raises the exception it is given, with the traceback that it has."""
    import _codecs

    return _codecs.lookup_error("strict")


def decide(scope, tracers):
    """The step after the script: what the interpreter does next, and which exit status that will come to."""
    partial = State.tools[0]
    tracer, profiler = tracers
    traced = [partial(set_it, it) for set_it, it in ((sys.setprofile, profiler), (sys.settrace, tracer)) if it is not None]
    error = State.caught.__context__
    State.caught = None
    State.catcher.__dict__.clear()
    for stream in streams("stderr", "stdout"):
        try:
            stream.flush()
        except BaseException:
            pass  # as the interpreter does; it looks again at the end
    if error is None:
        State.status = 0
        scope.pop("__file__", None)
        scope.pop("__cached__", None)
        State.steps += traced
        return
    if type(error) is SystemExit:
        State.status = system_exit(error.code)
    elif isinstance(error, Exception) and sys.excepthook is sys.__excepthook__:
        State.status = 1
    if not isinstance(error, SystemExit):
        import atexit

        for name in ("__file__", "__cached__"):
            atexit.register(scope.pop, name, None)  # after the traceback, before the script's exit handlers
    State.steps += [partial(raise_it(), error), *traced]


def system_exit(code):
    """The status that this code of SystemExit comes to."""
    if code is None:
        return 0
    if not isinstance(code, int):
        return 1
    return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF


# --- the end -------------------------------------------------------------------------------------------------------------------


class Signpost:
    """Calls a function when it is cleared away."""

    def __init__(self, function):
        self.function = function

    def __del__(self):
        self.function()


def leave():
    """The last exit handler: has us called when the interpreter starts to clear modules."""
    try:
        sys._getframe(1)
    except ValueError:
        pass
    else:
        return  # the script itself runs the exit handlers
    if State.exit is None or State.status is None:
        return
    for stream in streams("stdout", "stderr"):
        try:
            if not stream.closed:
                stream.flush()
        except BaseException:
            return  # the interpreter will fail in it, too, and end with 120
    sys.ps2 = Signpost(clearing_begins)


def streams(*names):
    """The standard streams of these names in sys that are there still: a script may have deleted some."""
    return [stream for stream in [getattr(sys, name, None) for name in names] if stream is not None]


def with_destructors(things):
    """Weak references to those that do something when they are destroyed; None when one of them can't have any."""
    import _weakref

    texts = streams("__stdin__", "__stdout__", "__stderr__")
    own = {id(part) for text in texts for part in (text, text.buffer, getattr(text.buffer, "raw", None))}
    found = []
    for thing in things:
        kind = type(thing)
        if not hasattr(kind, "__del__") or kind is Signpost or id(thing) in own or thing is State.catcher:
            continue
        try:
            if thing.closed:
                continue  # a file
        except Exception:
            pass
        try:
            found.append(_weakref.ref(thing))
        except TypeError:
            return None
    return found


#: what the interpreter clears in any case
KEPT = ("sys", "builtins", "__main__")


def hide_loaded():
    """Takes what was loaded before the fork out of sys.modules, and keeps it alive."""
    modules, loaded = sys.modules, State.loaded
    if type(modules) is not dict:
        return  # the script's own
    late = []
    while modules:
        late.append(modules.popitem())
        if late[-1][0] in loaded:
            modules.update([late.pop()])
            break
    if State.exchange and len(modules) + ("__mp_main__" in dict(late)) == State.before:
        # nothing was taken out since. So none of them is touched, since all that is touched is copied
        early = {name: modules.pop(name) for name in KEPT}
        State.exchange(modules, early)
        State.steps.append(early)
    else:
        for name, module in loaded.items():
            if modules.get(name) is module:
                del modules[name]
    modules.update(reversed(late))


def clearing_begins():
    """The first thing cleared is sys.ps2: takes what was loaded before the fork out of sight, unless that could matter."""
    import gc

    held = with_destructors(gc.get_objects())
    if held is None:
        return
    held = State.watched + held
    first = {name: getattr(sys, f"__{name}__", None) for name in ("stdout", "stderr")}
    hide_loaded()
    exit_, status, last = State.exit, State.status, sys

    def all_cleared():
        # the last of sys: nothing of the script is left but what modules loaded before the fork hold. Globals are gone, too
        last.__dict__.update(first)
        for reference in held:
            thing = reference()
            if thing is not None:
                try:
                    type(thing).__del__(thing)
                except BaseException:
                    pass
        for stream in first.values():
            try:
                stream.flush()
            except BaseException:
                pass
        exit_(status)

    sys.__dict__["~"] = Signpost(all_cleared)


plant()
the_users_own()
