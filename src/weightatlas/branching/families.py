"""Families of units: read from a file, or made from what the units are tuned to."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args

import numpy as np

from weightatlas.branching.kernels.colour import COLOUR
from weightatlas.checkpoints.bounded_json import bounded_json
from weightatlas.checkpoints.bounded_names import NAME_LIMIT
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.errors import SourceError
from weightatlas.wording import listed, printable

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Values = npt.NDArray[np.float64]
    Families = dict[str, tuple[int, ...]]

SIZE_LIMIT: Final = 64 << 20
"""Bytes of a file of families: a hundred times what all units of the largest vision model need."""

UNIT_LIMIT: Final = 1 << 24
"""Units of a layer: no published layer has a hundredth of them."""

FORM: Final = 'give JSON as {"layer": {"family": [units]}}, or CSV with the columns layer, unit and family'

By = Literal["colour", "class", "frequency"]
PARTS: Final = {2: ("low", "high"), 3: ("low", "middle", "high")}
"""What quantiles of frequency are called."""


class Tuned(Protocol):
    """What is known of each unit; `Tuning` is one."""

    @property
    def chroma(self) -> Values: ...  # noqa: D102 - described where they are set
    @property
    def frequency(self) -> Values: ...  # noqa: D102
    @property
    def classes(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def skipped(self) -> Mapping[int, str]: ...  # noqa: D102


def read_families(path: str | os.PathLike[str], *, layer: str | None = None) -> dict[str, Families]:
    r"""Read families of units from a file, by layer.

    - `.json`: layer to family to units, as the taxonomies of the Circuits articles are published; or family to units,
      with `layer` given.
    - `.csv`: a row a unit, with the columns `unit` and `family`, and `layer` unless it is given; other columns are
      passed over.

    Units count from 0 in the order of the layer. A unit may stand in several families, and twice in one, as a unit of
    the published taxonomy does: `specialization` counts it once and says so, and sees whether the layer has it.

    Args:
        path: the file. It is taken for untrusted: sizes are bounded, and nothing in it runs.
        layer: whose families they are, where the file does not say; where it does, only that layer's are given.

    Returns:
        Layer to family to units, in the order of the file.

    Raises:
        SourceError: there is no such file, it is neither, a family names something that is no unit, or the layer is not
            in it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "families.csv")
        ...     written = file.write_text("layer,unit,family\nconv1,0,colour\nconv1,3,colour\nconv1,1,line\n")
        ...     read_families(file)
        {'conv1': {'colour': (0, 3), 'line': (1,)}}
    """
    source = Path(path)
    text = _read(source)
    if source.suffix.lower() == ".csv":
        with untrusted(source, "cannot be read as CSV", FORM):
            found = _of_rows(text, source, layer)
    elif source.suffix.lower() == ".json":
        found = _of_json(bounded_json(text, str(source), "its JSON"), source, layer)
    else:
        raise SourceError(source, "neither .json nor .csv", FORM)
    if layer is not None:
        if layer not in found:
            names = listed([printable(name, limit=60) for name in [*found][:5]]) if found else "no layer"
            raise SourceError(source, f"no families of {layer!r} in it (it has {names})", "name a layer that it has")
        return {layer: found[layer]}
    return found


def families_from_tuning(tuning: Tuned, *, by: By = "colour", parts: int = 2) -> dict[str, npt.NDArray[np.int64]]:
    """Sort units into families by what they are tuned to.

    Args:
        tuning: of the units of one layer.
        by: "colour": chroma above `COLOUR` or not. "class": Gabor, colour contrast, centre-surround, other.
            "frequency": quantiles of the layer's own frequencies; kernels of different sizes have to be cut to one
            first (`common_kernels`), else frequency tells the size, and so the branch.
        parts: of "frequency": halves by the median (2) or terciles (3); a unit on the boundary is in the lower one.

    Returns:
        Family to units, ascending. Units without tuning are in none, and a family without units is left out.

    Raises:
        ValueError: `by` or `parts` is none of those they can be.

    Example:
        >>> from weightatlas.branching.tuning import tuning
        >>> rng = np.random.default_rng(0)
        >>> grey = np.repeat(rng.normal(size=(2, 1, 7, 7)), 3, axis=1)
        >>> colour = rng.normal(size=(2, 3, 7, 7))
        >>> families_from_tuning(tuning(np.concatenate([grey, colour - colour.mean(axis=1, keepdims=True)])))
        {'colour': array([2, 3]), 'black-and-white': array([0, 1])}
    """
    if by not in get_args(By):
        message = f"by must be one of {', '.join(get_args(By))}, not {by!r}"
        raise ValueError(message)
    if by == "colour":
        families = colour_families(tuning.chroma)
    elif by == "frequency":
        families = frequency_families(tuning.frequency, parts=parts)
    else:
        classes = np.array(tuning.classes, dtype=object)
        known = np.array([unit not in tuning.skipped for unit in range(len(classes))], dtype=bool)
        families = {str(name): np.flatnonzero((classes == name) & known) for name in dict.fromkeys(classes[known])}
    return {name: units.astype(np.int64) for name, units in families.items() if len(units)}


def colour_families(chroma: Values) -> dict[str, npt.NDArray[np.int64]]:
    """Units of colour, and black-and-white ones, by their chroma; NaN is neither.

    Example:
        >>> colour_families(np.array([0.6, 0.1, np.nan]))
        {'colour': array([0]), 'black-and-white': array([1])}
    """
    return {"colour": np.flatnonzero(chroma > COLOUR), "black-and-white": np.flatnonzero(chroma <= COLOUR)}


def frequency_families(frequency: Values, *, parts: int = 2) -> dict[str, npt.NDArray[np.int64]]:
    """Units of low and high frequency, or low, middle and high, as many of each as ties allow; NaN is none.

    Raises:
        ValueError: `parts` is neither 2 nor 3.

    Example:
        >>> frequency_families(np.array([0.1, 0.4, 0.2, np.nan, 0.3]))
        {'low': array([0, 2]), 'high': array([1, 4])}
    """
    if parts not in PARTS:
        message = f"parts must be 2 (halves) or 3 (terciles), not {parts!r}"
        raise ValueError(message)
    finite = np.isfinite(frequency)
    if not finite.any():
        return {}
    cuts = np.quantile(frequency[finite], np.arange(1, parts) / parts)
    place = np.where(finite, np.searchsorted(cuts, frequency, side="left"), -1)
    return {name: np.flatnonzero(place == part) for part, name in enumerate(PARTS[parts])}


def _read(source: Path) -> bytes:
    try:
        size = source.stat().st_size
        if size > SIZE_LIMIT:
            problem = f"{size:,} bytes, more than {SIZE_LIMIT:,}"
            raise SourceError(source, problem, "give a file of families alone")
        return source.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise SourceError(source, f"cannot be read ({error.strerror})", "name a file of families") from error


def _of_json(found: object, source: Path, layer: str | None) -> dict[str, Families]:
    if not isinstance(found, dict) or not found:
        raise SourceError(source, "no families in it", FORM)
    if all(isinstance(value, list) for value in found.values()):
        if layer is None:
            raise SourceError(source, "families without a layer", "say which layer's they are, or nest them under it")
        return {layer: _families(found, layer, source)}
    return {_name(name, source): _families(families, name, source) for name, families in found.items()}


def _families(found: object, layer: str, source: Path) -> Families:
    if not isinstance(found, dict):
        raise SourceError(source, f"{printable(layer)!r} holds no families", FORM)
    return {_name(family, source): _units(units, family, layer, source) for family, units in found.items()}


def _units(units: object, family: str, layer: str, source: Path) -> tuple[int, ...]:
    where = f"family {printable(family)!r} of {printable(layer)}"
    if not isinstance(units, list):
        raise SourceError(source, f"{where} is no list of units", FORM)
    for unit in units:
        if not isinstance(unit, int) or isinstance(unit, bool) or not 0 <= unit < UNIT_LIMIT:
            problem = f"{where} names {printable(repr(unit), limit=40)}, which is no unit"
            raise SourceError(source, problem, "number units from 0 in the order of the layer")
    return tuple(units)


def _of_rows(text: bytes, source: Path, layer: str | None) -> dict[str, Families]:
    reader = csv.DictReader(io.StringIO(text.decode("utf-8"), newline=""), strict=True)
    fields = reader.fieldnames or []
    needed = ("unit", "family") if layer is not None else ("layer", "unit", "family")
    if missing := [name for name in needed if name not in fields]:
        raise SourceError(source, f"its first line names no column {listed(missing)}", FORM)
    found: dict[str, dict[str, list[Any]]] = {}
    for row in reader:
        unit, family = row["unit"], row["family"]
        of = row["layer"] if "layer" in fields else layer
        if not unit or not family or not of:
            raise SourceError(source, f"line {reader.line_num} has an empty cell", FORM)
        whole = unit.strip()
        number = int(whole) if whole.isascii() and whole.isdecimal() and len(whole) < 10 else unit
        found.setdefault(of, {}).setdefault(family, []).append(number)
    if not found:
        raise SourceError(source, "no rows in it", FORM)
    return {_name(name, source): _families(families, name, source) for name, families in found.items()}


def _name(name: str, source: Path) -> str:
    if len(name) > NAME_LIMIT:
        raise SourceError(source, f"a name in it has {len(name)} characters, more than {NAME_LIMIT}", "shorten it")
    return name
