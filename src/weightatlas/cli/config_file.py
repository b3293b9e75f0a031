"""Options out of a TOML file, for a command that takes `--config`: what no flag gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cyclopts.config import Dict

if TYPE_CHECKING:
    from cyclopts import App, ArgumentCollection

TABLES: Final = ("recipe", "augmentation")


def fill_from_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill what no flag gave from the TOML file that `--config` names.

    Raises:
        SourceError: the file cannot be read, or is no TOML.
    """
    named = [argument for argument in arguments if argument.name == "--config" and argument.tokens]
    if not named:
        return
    from weightatlas.lab.configuration import read_toml  # only now: it loads torch

    path = named[0].tokens[0].value
    values = read_toml(path)
    flat: dict[str, Any] = {key: value for key, value in values.items() if key not in TABLES}
    for table in TABLES:
        flat |= values.get(table, {})
    if "interventions" in flat:
        flat["intervention"] = flat.pop("interventions")
    given = {argument.name for argument in arguments if argument.tokens}
    if given & {"--steps", "--epochs"}:  # a flag for one stands in the way of the other in the file
        flat.pop("steps", None)
        flat.pop("epochs", None)
    dashed = {key.replace("_", "-"): value for key, value in flat.items()}
    Dict(dashed, use_commands_as_keys=False, source=path)(app, commands, arguments)
