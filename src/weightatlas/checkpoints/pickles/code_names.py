"""Names in a pickle that mean harm: what runs code, reaches a shell, a file or the network, or loads another pickle.

Nothing of a pickle runs here, whatever it names. A file is refused for one of these names because its user may load
it elsewhere. A list can never be complete; it says what is known to have been used, and classes that are not on it are
not loaded either.

**Source:** the documentation of Python's standard library, and the advisories of picklescan and fickling, which list
the same kind of names.
"""

from __future__ import annotations

from typing import Final

_MODULES: Final = """
    os posix nt subprocess _posixsubprocess popen2 commands sys _xxsubinterpreters _interpreters importlib _imp imp
    _frozen_importlib _frozen_importlib_external zipimport pkgutil runpy site sitecustomize
    ctypes _ctypes cffi mmap shutil socket _socket socketserver ssl _ssl select pty tty code codeop
    webbrowser antigravity pip ensurepip venv setuptools pkg_resources distutils _distutils_hack
    pickle _pickle cPickle pickletools dill cloudpickle shelve marshal dbm
    pdb bdb cmd cProfile profile pstats timeit trace doctest pydoc idlelib lib2to3 unittest gc
    multiprocessing concurrent threading _thread thread dummy_threading asyncio signal sched atexit
    http httplib urllib urllib2 urllib3 requests aiohttp httpx ftplib smtplib telnetlib xmlrpc xmlrpclib poplib imaplib
    paramiko pexpect IPython
    fileinput linecache tempfile mailcap cgitb smtpd winreg _winreg _winapi msvcrt nturl2path
    torch.hub torch.package torch.utils.cpp_extension torch.utils.bottleneck torch.utils.collect_env
    torch.utils._config_module torch.utils.model_zoo torch.multiprocessing torch.distributed.rpc torch._inductor
    torch._dynamo torch.jit.unsupported_tensor_ops torch.fx.graph_module torch.fx.experimental torch.ops
    torch.utils.data.datapipes.utils torch.utils.hipify torch.distributed.run
    torch.distributed.launcher torch.distributed.elastic torch.utils.benchmark
    numpy.testing numpy.f2py numpy.distutils numpy.ctypeslib logging.config
    """
MODULES: Final = frozenset(_MODULES.split())
"""Modules that a checkpoint has no honest use for; what lies below them is meant too."""

_BUILTIN_NAMES: Final = """
    eval exec execfile compile open file input raw_input setattr delattr vars globals locals apply reload
    breakpoint help __import__ __build_class__ exit quit memoryview classmethod staticmethod
    """
_BUILTINS: Final = frozenset(_BUILTIN_NAMES.split())

NAMES: Final[dict[str, frozenset[str]]] = {
    "builtins": _BUILTINS,
    "__builtin__": _BUILTINS,
    "__builtins__": _BUILTINS,
    "io": frozenset({"open", "open_code", "FileIO"}),
    "_io": frozenset({"open", "open_code", "FileIO"}),
    "codecs": frozenset({"open"}),
    "operator": frozenset({"attrgetter", "itemgetter", "methodcaller", "call"}),
    "_operator": frozenset({"attrgetter", "itemgetter", "methodcaller", "call"}),
    "functools": frozenset({"reduce", "singledispatch", "cached_property"}),
    "_functools": frozenset({"reduce"}),
    "types": frozenset({"CodeType", "FunctionType", "LambdaType", "MethodType", "ModuleType", "DynamicClassAttribute"}),
    "copyreg": frozenset({"pickle", "constructor", "add_extension", "dispatch_table"}),
    "copy_reg": frozenset({"pickle", "constructor", "add_extension", "dispatch_table"}),
    "torch": frozenset({"load", "save", "compile", "import_ir_module"}),
    "torch.serialization": frozenset({"load", "save", "_load", "_legacy_load", "add_safe_globals"}),
    "torch.jit": frozenset({"load", "script", "CompilationUnit"}),
    "torch.jit._serialization": frozenset({"load", "jit_module_from_flatbuffer"}),
    "numpy": frozenset({"load", "fromfile", "memmap", "save", "savez", "savetxt", "genfromtxt", "loadtxt"}),
    "numpy.lib.npyio": frozenset({"load", "save", "savez", "savetxt", "genfromtxt", "loadtxt"}),
    "pandas": frozenset({"read_pickle", "eval", "read_csv", "read_html"}),
    "pandas.io.pickle": frozenset({"read_pickle", "to_pickle"}),
    "joblib": frozenset({"load", "dump"}),
    "joblib.numpy_pickle": frozenset({"load", "dump"}),
    "yaml": frozenset({"load", "load_all", "unsafe_load", "unsafe_load_all", "full_load"}),
}
"""Single names of modules that are useful otherwise."""

ATTRIBUTE: Final = frozenset({"builtins.getattr", "__builtin__.getattr"})
"""How a pickle names an attribute of what it names or made: a member of an enumeration, a method of a module."""

_NEWOBJ: Final = frozenset({"__newobj__", "__newobj_ex__"})


def could_run_code(module: str, name: str) -> bool:
    """Whether calling what a pickle names could do more than make an object.

    Example:
        >>> could_run_code("posix", "system"), could_run_code("torch", "os.system")
        (True, True)
        >>> could_run_code("torch._utils", "_rebuild_tensor_v2")
        False
    """
    parts = module.split(".")
    if any(".".join(parts[:count]) in MODULES for count in range(1, len(parts) + 1)):
        return True
    if name in NAMES.get(module, ()):
        return True
    attributes = name.split(".")
    if any(part.startswith("__") and part.endswith("__") and part not in _NEWOBJ for part in attributes):
        return True
    if module == "pathlib":
        return len(attributes) > 1  # a method of a path writes and removes files
    return any(part in MODULES or part in NAMES for part in attributes[:-1])  # a module in a module: torch's own os
