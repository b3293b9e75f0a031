"""What became of each tensor when a checkpoint was loaded into a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from weightatlas.wording import counted

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final = ("tensor", "outcome", "checkpoint_shape", "model_shape", "checkpoint_dtype", "model_dtype", "reason")


@dataclass(frozen=True, slots=True)
class Reshaped:
    """A tensor whose shape differs between checkpoint and model.

    Attributes:
        key: module path and parameter.
        checkpoint_shape: as the checkpoint has it.
        model_shape: as the model has it.
        loaded: whether its values are in the model: only where axes of size 1 are all that differs.
    """

    key: str
    checkpoint_shape: tuple[int, ...]
    model_shape: tuple[int, ...]
    loaded: bool


@dataclass(frozen=True, slots=True)
class Cast:
    """A tensor whose type differs between checkpoint and model.

    Attributes:
        key: module path and parameter.
        checkpoint_dtype: torch's name of the type in the checkpoint.
        model_dtype: torch's name of the type in the model.
        loaded: whether its values are in the model: not where fractions would become integers, complex numbers real, or
            a finite value passes the bounds of the model's type.
        reason: which value that is, and the bound; else empty.
    """

    key: str
    checkpoint_dtype: str
    model_dtype: str
    loaded: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was loaded into a model, what it lacks and what was left over, by key: module path and parameter.

    Attributes:
        source: the checkpoint's name.
        loaded: whose values are in the model now, in the model's order; tied ones under each of their names.
        missing: in the model, not in the checkpoint, and tied to nothing that is. They keep the values they had.
        optional: those of `missing` that change nothing where they lack: integer or boolean buffers, such as a count of
            batches or positions.
        extra: in the checkpoint, not in the model.
        reshaped: whose shapes differ; those that could not be loaded say so.
        cast: whose types differ; those that could not be loaded say so.
        not_finite: loaded and holding NaN or infinite values.
        notes: what was undone or assumed on the way, one sentence each.
    """

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    reshaped: tuple[Reshaped, ...] = ()
    cast: tuple[Cast, ...] = ()
    not_finite: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[str, ...]:
        """Keys that both have and that could not be loaded, for their shape, type or values."""
        changes: tuple[Reshaped | Cast, ...] = (*self.reshaped, *self.cast)
        return tuple(dict.fromkeys(change.key for change in changes if not change.loaded))

    @property
    def required(self) -> tuple[str, ...]:
        """Keys that are missing and that the model cannot do without."""
        optional = set(self.optional)
        return tuple(key for key in self.missing if key not in optional)

    @property
    def complete(self) -> bool:
        """Whether all that the model cannot do without was loaded."""
        return not self.required and not self.refused

    @property
    def summary(self) -> str:
        """One sentence.

        Example:
            >>> LoadReport("net.pt", ("fc.weight",), missing=("fc.bias",)).summary
            'one tensor of net.pt loaded, one missing'
        """
        changed = sum(entry.loaded for entry in self.reshaped)
        parts = [
            f"{counted(len(self.loaded), 'tensor')} of {self.source} loaded",
            *([f"{_words(len(self.missing))} missing"] if self.missing else []),
            *([f"{_words(len(self.refused))} of another shape or type left out"] if self.refused else []),
            *([f"{_words(len(self.extra))} left over"] if self.extra else []),
            *([f"{_words(changed)} reshaped"] if changed else []),
            *([f"{_words(sum(entry.loaded for entry in self.cast))} cast"] if any(e.loaded for e in self.cast) else []),
            *([f"{_words(len(self.not_finite))} not finite"] if self.not_finite else []),
        ]
        return ", ".join(parts)

    def rows(self) -> list[dict[str, Any]]:
        """One flat row a tensor of model and checkpoint.

        `outcome` is "loaded", "reshaped" or "cast" (and loaded), "refused" (shape, type or values do not fit),
        "missing" or "extra". Shapes and types are given where they differ, else null; `reason` is that of the `Cast`.
        """
        shapes = {entry.key: entry for entry in self.reshaped}
        types = {entry.key: entry for entry in self.cast}
        refused = set(self.refused)
        outcomes = {key: "reshaped" if key in shapes else "cast" if key in types else "loaded" for key in self.loaded}
        outcomes |= dict.fromkeys(self.refused, "refused")
        outcomes |= dict.fromkeys(self.missing, "missing") | dict.fromkeys(self.extra, "extra")
        rows = []
        for key, outcome in outcomes.items():
            shape, dtype = shapes.get(key), types.get(key)
            values = (
                key,
                "refused" if key in refused else outcome,
                list(shape.checkpoint_shape) if shape else None,
                list(shape.model_shape) if shape else None,
                dtype.checkpoint_dtype if dtype else None,
                dtype.model_dtype if dtype else None,
                (dtype.reason or None) if dtype else None,
            )
            rows.append(dict(zip(COLUMNS, values, strict=True)))
        return rows

    def frame(self) -> pd.DataFrame:
        """The rows as a tidy data frame."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=list(COLUMNS))


def _words(count: int) -> str:
    return counted(count, "").strip() if count == 1 else counted(count, "")[:-1].strip()
