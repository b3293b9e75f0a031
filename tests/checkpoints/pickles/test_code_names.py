from __future__ import annotations

import pytest

from weightatlas.checkpoints.pickles.code_names import could_run_code


@pytest.mark.parametrize(
    "path",
    [
        *("os system", "posix system", "nt system", "subprocess Popen", "subprocess check_output", "sys exit"),
        *("builtins eval", "__builtin__ eval", "builtins exec", "builtins compile", "builtins open"),
        *("builtins setattr", "builtins __import__", "importlib import_module", "importlib.util find_spec"),
        *("runpy run_path", "ctypes CDLL", "ctypes.util find_library", "socket socket", "shutil rmtree", "pty spawn"),
        *("code InteractiveInterpreter.runcode", "codeop compile_command", "webbrowser open", "pip main"),
        *("operator attrgetter", "_operator methodcaller", "functools reduce", "types CodeType", "io open"),
        *("pickle loads", "_pickle loads", "marshal loads", "dill loads", "cloudpickle.cloudpickle subimport"),
        *("torch load", "torch.hub load", "torch.serialization load", "torch.jit load", "torch.package importer"),
        *("torch.fx.graph_module reduce_graph_module", "torch.utils.cpp_extension load_inline"),
        *("numpy.testing._private.utils runstring", "numpy.f2py.crackfortran _eval_length", "numpy load"),
        *("pydoc pipepager", "timeit timeit", "cProfile run", "bdb Bdb", "pdb run", "trace Trace.run", "venv create"),
        *("torch os.system", "numpy os.popen", "pathlib Path.write_text", "mypackage Model.__init__.__globals__"),
        *("asyncio create_subprocess_shell", "multiprocessing.util spawnv_passfds", "urllib.request urlopen"),
    ],
)
def test_what_could_run_code_is_known(path: str) -> None:
    assert could_run_code(*path.split())


@pytest.mark.parametrize(
    "path",
    [
        *("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "torch FloatStorage", "torch Size"),
        *("torch.nn.modules.linear Linear", "torch._C._nn gelu", "torch.nn.functional relu", "torch.optim.adam Adam"),
        *("collections OrderedDict", "collections defaultdict", "builtins set", "__builtin__ dict", "builtins int"),
        *("numpy dtype", "numpy.core.multiarray _reconstruct", "numpy._core.multiarray scalar", "numpy ndarray"),
        *(
            "argparse Namespace",
            "pathlib PosixPath",
            "datetime datetime",
            "copy_reg _reconstructor",
            "copyreg __newobj__",
        ),
        *("omegaconf.dictconfig DictConfig", "ultralytics.nn.tasks DetectionModel", "mypackage.os_tools Config"),
        *(
            "__torch__.torch.nn.modules.conv Conv2d",
            "enum Enum",
            "_codecs encode",
            "mypackage.code Model",
            "io BytesIO",
        ),
    ],
)
def test_what_honest_checkpoints_hold_passes(path: str) -> None:
    assert not could_run_code(*path.split())
