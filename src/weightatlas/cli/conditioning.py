"""`weightatlas conditioning`: channels that a network loses, and how smooth its loss is, at the end or over a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Group, Parameter

from weightatlas.cli.options import AT_LEAST_ONE, FormatOption, Layout, Output, Quiet, Seed, Source
from weightatlas.cli.printing import check_output, print_results
from weightatlas.cli.reporting import for_each_source, progress_bar, report
from weightatlas.cli.sources import opened
from weightatlas.cli.terminal import TerminalColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.conditioning import Conditioning

TableName = Literal["layers", "channels", "weights", "steps", "walks"]

NETWORK: Final = Group.create_ordered("Which network")
MEASURED: Final = Group.create_ordered("What is measured")
PRINTED: Final = Group.create_ordered("What comes out")

SHOWN: Final[Mapping[TableName, tuple[TerminalColumn, ...]]] = {
    "layers": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("step", "step"),
        TerminalColumn("function", "before"),
        TerminalColumn("norm", "norm"),
        TerminalColumn("channels", "channels"),
        TerminalColumn("mean_distance", "means from 0"),
        TerminalColumn("mean_q_value", "q", form="tiny"),
        TerminalColumn("std_distance", "deviations from 1"),
        TerminalColumn("std_q_value", "q", form="tiny"),
        TerminalColumn("least_positive", "least positive", form="share"),
        TerminalColumn("dead", "dead", form="share"),
        TerminalColumn("near_dead", "nearly dead", form="share"),
    ),
    "channels": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("step", "step"),
        TerminalColumn("channel", "channel"),
        TerminalColumn("mean", "mean", form="signed"),
        TerminalColumn("std", "deviation"),
        TerminalColumn("positive", "positive", form="share"),
        TerminalColumn("positive_gaussian", "if Gaussian", form="share"),
        TerminalColumn("normalized_mean", "normalised mean", form="signed"),
        TerminalColumn("normalized_std", "deviation"),
    ),
    "weights": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("step", "step"),
        TerminalColumn("kind", "kind"),
        TerminalColumn("shape", "shape", form="shape"),
        TerminalColumn("standardized", "standardised"),
        TerminalColumn("centring", "centring", form="share"),
        TerminalColumn("centring_q_value", "q", form="tiny"),
        TerminalColumn("scaling", "scaling", form="share"),
        TerminalColumn("scaling_q_value", "q", form="tiny"),
        TerminalColumn("null", "at random", form="share"),
        TerminalColumn("gradient_before", "|gradient|"),
        TerminalColumn("gradient_after", "after"),
    ),
    "steps": (
        TerminalColumn("step", "step"),
        TerminalColumn("loss", "loss"),
        TerminalColumn("gradient_lipschitz", "gradient's change"),
        TerminalColumn("gradient_lipschitz_random", "at random"),
        TerminalColumn("gradient_lipschitz_p_value", "p", form="tiny"),
        TerminalColumn("top_eigenvalue", "top eigenvalue"),
        TerminalColumn("mean_distance", "means from 0"),
        TerminalColumn("std_distance", "deviations from 1"),
        TerminalColumn("dead", "dead", form="share"),
        TerminalColumn("near_dead", "nearly dead", form="share"),
        TerminalColumn("centring", "centring", form="share"),
        TerminalColumn("scaling", "scaling", form="share"),
    ),
    "walks": (
        TerminalColumn("step", "step"),
        TerminalColumn("direction", "direction"),
        TerminalColumn("relative_length", "length / weights"),
        TerminalColumn("learning_rate", "learning rate"),
        TerminalColumn("loss_change", "loss", form="signed"),
        TerminalColumn("gradient_distance", "gradient"),
    ),
}
"""What a table in the terminal shows; JSON and CSV have every field."""


def conditioning(
    *source: Source,
    data: Annotated[str, Parameter(group=NETWORK)],
    model: Annotated[str | None, Parameter(group=NETWORK)] = None,
    layout: Annotated[Layout, Parameter(group=NETWORK)] = None,
    examples: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=MEASURED)] = 512,
    training: Annotated[bool, Parameter(negative=(), group=MEASURED)] = False,
    channels_only: Annotated[bool, Parameter(negative=(), group=MEASURED)] = False,
    smooth_examples: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=MEASURED)] = 128,
    draws: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=MEASURED)] = 19,
    moments: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=MEASURED)] = 12,
    seed: Annotated[Seed, Parameter(group=MEASURED)] = 0,
    table: Annotated[TableName | None, Parameter(group=PRINTED)] = None,
    format_: Annotated[FormatOption, Parameter(group=PRINTED)] = None,
    output: Annotated[Output, Parameter(group=PRINTED)] = None,
    quiet: Annotated[Quiet, Parameter(group=PRINTED)] = False,
) -> int:
    """Measure which channels a network loses before its nonlinearities, and how smooth its loss is.

    Args:
        source: The checkpoints, or runs, of which checkpoints from the first to the last are measured.
        data: What the network is run on: scenes, cifar10:PATH, cifar100:PATH, svhn:PATH, a folder of images, Parquet,
            .npz, or package.module:callable; what it is trained on, with ?split=test if you like.
        model: The network that the weights belong to: timm:NAME, torchvision:NAME, weightatlas:NAME (with
            &convert=ws+bcn for a converted one), package.module:callable, a .pt2 export, or a Hugging Face folder.
        examples: How many the channels are measured on.
        training: Run the network in training mode: norms use the statistics of the batches; ?batch_size= of the data
            says how large they are.
        channels_only: Leave out smoothness, which takes most of the time.
        smooth_examples: How many the loss is a mean over.
        draws: Random directions that the gradient's is compared with: p is at least 1 / (1 + draws).
        moments: Checkpoints of a run, at most: the first, the last, and others evenly between.
        table: Which rows to print. If left out: layers; of a run, steps.
    """
    check_output(output, format_, sources=len(source), pictures=True)
    # After the arguments are known to be good: this loads torch.
    from weightatlas.checkpoints import Trajectory
    from weightatlas.conditioning import survey
    from weightatlas.evaluation import open_data

    shown = open_data(data)
    for note in shown.notes:
        report(f"{data}: {note}")
    options: dict[str, Any] = {
        "examples": examples,
        "training": training,
        "smooth": not channels_only,
        "smooth_examples": smooth_examples,
        "draws": draws,
        "moments": moments,
        "seed": seed,
    }
    runs: list[str] = []

    def survey_one(name: str) -> Conditioning:
        weights = opened(name, layout)
        if isinstance(weights, Trajectory):
            runs.append(name)
        with progress_bar("conditioning", quiet=quiet) as progress:
            found = survey(weights, model=model, data=shown, **options, progress=progress)
        for note in dict.fromkeys((*weights.notes, *found.notes)):
            report(f"{name}: {note}")
        return found

    surveys, complete = for_each_source(source, survey_one)
    chosen: TableName = table or ("steps" if runs else "layers")
    if surveys or output is None:
        columns = [one for one in SHOWN[chosen] if one.key != "step" or runs]
        print_results(surveys, chosen, format_=format_, output=output, shown=tuple(columns))
    return 0 if complete else 1
