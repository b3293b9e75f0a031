"""A folder that DeepSpeed wrote: the one file that holds whole weights, or what has to be done first.

**Source:** the file names of `deepspeed.runtime.engine` and `deepspeed.runtime.pipe.module`: ZeRO 1 and 2 keep all
16-bit weights in `mp_rank_00_model_states.pt`; ZeRO 3, model and pipeline parallelism spread them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Collection

_MODEL: Final = re.compile(r"mp_rank_\d+_model_states\.pt")
_ZERO3: Final = re.compile(r"(?:bf16_|fp16_)?zero_pp_rank_\d+_mp_rank_\d+_model_states\.pt")
_PIPELINE: Final = re.compile(r"layer_\d+-model_(?:\d+-model_)?states\.pt")
_MERGE: Final = "merge them with the conversion script of the code that trained it, and give what that writes"


def deepspeed_file(source: str, names: Collection[str]) -> str | None:
    """The file that holds the weights of a DeepSpeed folder; None where the folder is none.

    Args:
        source: the folder's name, for the error.
        names: of the files in it.

    Raises:
        SourceError: the weights are spread over several files.

    Example:
        >>> deepspeed_file("global_step10", ["mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"])
        'mp_rank_00_model_states.pt'
    """
    spread = sum(_ZERO3.fullmatch(name) is not None for name in names)
    if spread:
        problem = (
            f"a DeepSpeed ZeRO-3 checkpoint: {spread} process{'es' if spread > 1 else ''} hold its weights in pieces"
        )
        raise SourceError(
            source, problem, "run zero_to_fp32.py, which DeepSpeed puts beside it, and give what it writes"
        )
    models = [name for name in names if _MODEL.fullmatch(name)]
    layers = sum(_PIPELINE.fullmatch(name) is not None for name in names)
    if models and layers:
        raise SourceError(source, f"a DeepSpeed pipeline checkpoint: its layers lie in {layers} files", _MERGE)
    if len(models) > 1:
        problem = f"a DeepSpeed checkpoint of {len(models)} model-parallel processes, each with a part of every weight"
        raise SourceError(source, problem, _MERGE)
    return models[0] if models else None
