"""The application: its commands, and what their outcomes mean to the shell."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from cyclopts import App, CycloptsError, Parameter

from weightatlas import __version__
from weightatlas.cli.atlas import atlas
from weightatlas.cli.banding import banding
from weightatlas.cli.bus_errors import leave_on_bus_errors
from weightatlas.cli.config_file import fill_from_file
from weightatlas.cli.demo import demo
from weightatlas.cli.doctor import doctor
from weightatlas.cli.help import SentenceFormatter, shown_default
from weightatlas.cli.layers import layers
from weightatlas.cli.reporting import UsageError, report
from weightatlas.errors import WeightatlasError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from inspect import BoundArguments

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

COLLECTION: Final = (100_000, 50, 100)
"""A listing makes millions of small objects and no cycles: looking for those at every 700th took a quarter of it."""

app = App(
    name="weightatlas",
    help="Draws the atlas of a neural network's weights: large-scale structure, measured against null models.",
    version=__version__,
    help_format="plaintext",
    help_formatter=SentenceFormatter(),
    default_parameter=Parameter(show_default=shown_default),
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
for command in (layers, banding, atlas, demo, doctor):
    app.command(command)
app.command(
    "weightatlas.cli.branching:branching",
    name="branching",
    help="Say what every unit is tuned to and where its kind gathers, and look for branches that weights hide.",
)
app.command(
    "weightatlas.cli.change:change",
    name="change",
    help="Measure how much every layer changed, over a training run or between two checkpoints.",
)
app.command(
    "weightatlas.cli.conditioning:conditioning",
    name="conditioning",
    help="Measure which channels a network loses before its nonlinearities, and how smooth its loss is.",
)
app.command(
    "weightatlas.cli.convert:convert",
    name="convert",
    help="Give a network another normalisation, or fold it, and say what was converted, what was not, and why.",
)
app.command(
    "weightatlas.cli.connect:connect",
    name="connect",
    help="Align networks of one shape, and measure the barrier on the straight lines between them.",
)
app.command(
    "weightatlas.cli.merge:merge",
    name="merge",
    help="Average two checkpoints of one network, the second one's units brought to the first one's before.",
)
app.command(
    "weightatlas.cli.degeneracy:degeneracy",
    name="degeneracy",
    help="Count the directions of the weights that do nothing, find the basis a network computes in, draw its modules.",
)
app.command(
    "weightatlas.cli.train:train",
    name="train",
    help="Train one network, changed or not, and keep the run: checkpoints, metrics, manifest.",
    config=fill_from_file,
)
app.command(
    "weightatlas.cli.experiment:experiment",
    name="experiment",
    help="Train every variant of a paper's experiment, compare them, write the table and the atlas.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with 0 done, 1 an input could not be used, 2 wrong usage, 130 interrupted."""
    leave_on_bus_errors()
    gc.set_threshold(*COLLECTION)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and say how it ended."""
    try:
        command, bound = _parsed(arguments)
        outcome = command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
    except (CycloptsError, UsageError) as error:
        report(error)
        return USAGE
    except WeightatlasError as error:
        report(error)
        return FAILED
    except KeyboardInterrupt:
        report("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough; keep the interpreter from complaining about it on exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        place = error.filename2 or error.filename  # a file is renamed to its place: name that, not the temporary
        report(f"{place}: {error.strerror}" if place else error)
        return FAILED
    return outcome if isinstance(outcome, int) else DONE


def _parsed(arguments: Sequence[str]) -> tuple[Callable[..., Any], BoundArguments]:
    """Find the command and what it is called with.

    Raises:
        UsageError: a group of options makes no sense together, as its dataclass says.
    """
    try:
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    except WeightatlasError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error
    return command, bound
