"""`weightatlas convert`: another normalisation for a network, or its folding, with a report layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Group, Parameter, validators

from weightatlas.cli.options import AT_LEAST_ONE, FormatOption, Output, Seed
from weightatlas.cli.printing import check_output, print_results
from weightatlas.cli.reporting import UsageError, report
from weightatlas.cli.terminal import TerminalColumn

if TYPE_CHECKING:
    from weightatlas.nn import Conversion, Folding

FOLD: Final = "fold"

CONVERTED: Final = Group.create_ordered("What is converted")
HOW: Final = Group.create_ordered("How")
PRINTED: Final = Group.create_ordered("What comes out")

Written = Annotated[Path | None, Parameter(group=PRINTED)]

SHOWN: Final = (
    TerminalColumn("layer", "layer"),
    TerminalColumn("before", "was"),
    TerminalColumn("after", "is now"),
    TerminalColumn("pair", "goes with"),
    TerminalColumn("groups", "groups"),
    TerminalColumn("carried", "carried over"),
    TerminalColumn("evidence", "known from"),
)


def convert(
    model: str,
    recipe: str,
    *,
    checkpoint: Annotated[str | None, Parameter(group=CONVERTED)] = None,
    seed: Annotated[Seed, Parameter(group=CONVERTED)] = 0,
    groups: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=HOW)] = 32,
    depthwise: Annotated[bool, Parameter(negative=(), group=HOW)] = False,
    standardized: Annotated[Literal["followed", "all"], Parameter(group=HOW)] = "followed",
    how: Annotated[str, Parameter(group=HOW)] = "timm",
    rate: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1), group=HOW)] = 0.1,
    warmup: Annotated[int, Parameter(validator=validators.Number(gte=0), group=HOW)] = 0,
    save: Written = None,
    format_: Annotated[FormatOption, Parameter(group=PRINTED)] = None,
    output: Annotated[Output, Parameter(group=PRINTED)] = None,
) -> int:
    """Give a network another normalisation, or fold it, and say what was converted, what was not, and why.

    Args:
        model: The network: timm:NAME, torchvision:NAME, weightatlas:NAME, package.module:callable, a Hugging Face
            folder.
        recipe: [WEIGHTS+]NORM: ws+gn, ws+bcn, ws+micro-bcn, gn, bcn, bn, syncbn, in, or ws alone; centred and scaled in
            the place of ws for one half of it. Or fold: standardised convolutions become plain ones, and batch norms
            become part of the convolution before them.
        checkpoint: Weights to load first.
        groups: Groups of channels, at most.
        depthwise: Standardise depthwise convolutions too.
        standardized: Which convolutions: those followed by a norm, or all.
        how: Whose standardisation: timm, bit, qiao2019, bcn2019, google.
        rate: How fast the estimates of micro-bcn follow the batches, from 0 to 1.
        warmup: Batches of micro-bcn whose plain average the estimates begin with.
        save: Write the converted weights here, as .safetensors.
    """
    check_output(output, format_, sources=1, pictures=False)
    if save is not None and save.suffix.lower() != ".safetensors":
        message = f"weights are written as safetensors, not as {save}: end the name in .safetensors"
        raise UsageError(message)
    # After the arguments are known to be good: this loads torch.
    from weightatlas.evaluation import open_model
    from weightatlas.evaluation.saving import save_weights
    from weightatlas.nn import convert as converted
    from weightatlas.nn import fold
    from weightatlas.nn.conversion.options import ConversionOptions

    options: dict[str, Any] = {"groups": groups, "depthwise": depthwise, "standardized": standardized, "how": how}
    options |= {"rate": rate, "warmup": warmup}
    if recipe != FOLD:
        try:
            ConversionOptions.of(recipe, **options)
        except ValueError as error:
            raise UsageError(str(error)) from error
    network = open_model(model, checkpoint=checkpoint, seed=seed)
    done: Conversion | Folding = (
        fold(network) if recipe == FOLD else converted(network, recipe, in_place=True, **options)
    )
    report(done.summary)
    if done.stopped:
        report(f"{model}: some pairs are known from the order of the modules only: {done.stopped}")
    if save is not None:
        save_weights(done.model, save, metadata={"model": model, "recipe": recipe})
    print_results([done], None, format_=format_, output=output, shown=SHOWN)
    return 0
