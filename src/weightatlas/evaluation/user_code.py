"""The user's own code by name, `package.module:callable?option=value`: run because it is named, and only then."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.untrusted import summary
from weightatlas.checkpoints.zoo import parse_options
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_NAME: Final = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(\.[^\W\d]\w*)*)(\?.*)?")


def is_code(text: str) -> bool:
    """Whether a name has the form `package.module:callable`.

    Example:
        >>> is_code("nets.small:build?width=2"), is_code("cifar10:/data"), is_code("https://host/x")
        (True, False, False)
    """
    return _NAME.fullmatch(text) is not None


def call_by_name(source: str, *, seed: int, kinds: Sequence[str] = ()) -> Any:  # noqa: ANN401 - whatever it gives
    """Import the module, find what is named in it and call it with the options.

    The current directory comes first while it is imported and called. Torch's generator is seeded for the call, and
    left as it was.

    Args:
        source: `package.module:callable`, and options after a question mark.
        seed: what torch's generator starts from.
        kinds: words that could have stood before the colon, for a remedy where there is no such module.

    Returns:
        What the callable gives.

    Raises:
        SourceError: there is no such module or name in it, it cannot be called, or importing or calling it raises.
    """
    return _called(source, find_callable(source, kinds=kinds), seed)


def find_callable(source: str, *, kinds: Sequence[str] = ()) -> Callable[..., Any]:
    """What a name of the form `package.module:callable` names, imported.

    Raises:
        SourceError: there is no such module or name in it, importing it raises, or it cannot be called.
    """
    match = _NAME.fullmatch(source)
    if match is None:
        raise SourceError(source, "not of the form package.module:callable", "write it so, options after a ?")
    module = match["module"]
    with _here_first():
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
                near = difflib.get_close_matches(module, kinds, n=1, cutoff=0.6)
                here = "check the name; the current directory and what is installed are searched"
                remedy = f"did you mean {near[0]}:{source.partition(':')[2]}?" if near else here
                raise SourceError(source, f"there is no module {error.name!r}", remedy) from error
            raise SourceError(
                source, f"importing {module} fails ({summary(error)})", "install what it needs"
            ) from error
        except Exception as error:
            raise SourceError(source, f"importing {module} fails ({summary(error)})", "correct it") from error
    reached = module
    for part in match["attribute"].split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, [name for name in dir(found) if name[:1] != "_"], n=3, cutoff=0.5)
            remedy = f"did you mean {' or '.join(near)}?" if near else "check the name"
            raise SourceError(source, f"{reached} has no {part!r}", remedy)
        found, reached = getattr(found, part), f"{reached}.{part}"
    if not callable(found):
        raise SourceError(source, f"{reached} is a {type(found).__name__}, which cannot be called", "name a callable")
    return found  # type: ignore[no-any-return]


def _called(source: str, function: Callable[..., Any], seed: int) -> Any:  # noqa: ANN401
    import torch

    options = parse_options(source.partition("?")[2])
    with _here_first(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            return function(**options)
        except Exception as error:
            raise SourceError(
                source, f"it raises {summary(error)}", "correct it, or its options after the ?"
            ) from error


@contextmanager
def _here_first() -> Iterator[None]:
    """Let modules of the current directory be imported, as `python -m` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
