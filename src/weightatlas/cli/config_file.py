"""Options out of a TOML file, for a command that takes `--config`: what no flag gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cyclopts.config import Dict

if TYPE_CHECKING:
    from cyclopts import App, ArgumentCollection

ELSEWHERE: Final = (
    ({"--steps", "--epochs"}, ("steps", "epochs")),
    ({"--head", "--intervention"}, ("head", "intervention")),
    ({"--fork"}, ("fork", "fork_seed")),
)
"""Options of which one on the command line takes the place of both in the file."""


def fill_from_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill what no flag gave from the TOML file that `--config` names.

    Raises:
        SourceError: the file cannot be read, is no TOML, or holds a field that is unknown or of another kind.
    """
    named = [argument for argument in arguments if argument.name == "--config" and argument.tokens]
    if not named:
        return
    from weightatlas.lab.configuration_file import TABLES, check_fields, read_toml  # only now: it loads torch

    path = named[0].tokens[0].value
    values = read_toml(path)
    options = {argument.name.removeprefix("--").replace("-", "_") for argument in arguments}
    check_fields(values, source=path, others=options - {"config"})
    flat: dict[str, Any] = {key: value for key, value in values.items() if key not in TABLES}
    for table in TABLES:
        flat |= values.get(table, {}) if table != "fork" else {}
    if "fork" in values:  # its fields have the names of others
        flat["fork"] = values["fork"].get("step", "weights")
        if "seed" in values["fork"]:
            flat["fork_seed"] = values["fork"]["seed"]
    if "interventions" in flat:
        flat["intervention"] = flat.pop("interventions")
    given = {argument.name for argument in arguments if argument.tokens}
    for flags, fields in ELSEWHERE:
        for field in fields if given & flags else ():
            flat.pop(field, None)
    dashed = {key.replace("_", "-"): value for key, value in flat.items()}
    Dict(dashed, use_commands_as_keys=False, source=path)(app, commands, arguments)
