"""The variants of WeightScale's experiment: one network on easier and harder tasks, and what the paper says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from weightatlas.lab.experiments.change_measures import FIGURES
from weightatlas.lab.experiments.claims import Claim, Expected
from weightatlas.lab.experiments.experiment import Variant

if TYPE_CHECKING:
    from weightatlas.data import Augmentation
    from weightatlas.lab.configuration import Configuration

TENTH: Final = 0.1
"""Recruitment below this counts as none: the last layers change by a tenth more or less than the first."""

EXCELLENT: Final = 0.9
"""Adjusted Rand index from which a partition counts as recovered: Steinley, Psychological Methods 2004."""

RECRUITED: Final = "later layers are recruited more by the more complex task"


def of_network(name: str, base: Configuration, data: dict[str, str], *, tested: int | None = None) -> list[Variant]:
    """One network on photographs: CIFAR-10, and what else there is of CIFAR-100, its coarse labels, and SVHN.

    Args:
        name: of the network; "efficientnet-b4" has the paper's claims on its kinds of convolution.
        base: its model without a number of classes, and how it is trained.
        data: by "cifar10", "cifar100", "cifar100-coarse" and "svhn", as `open_data` takes them, with options.
        tested: how many test images are scored after each checkpoint; None is all.
    """
    claims = _efficientnet_claims() if name.startswith("efficientnet") else _resnet_claims()
    easy = f"{name}.cifar10"
    against = {"cifar100": easy, "cifar100-coarse": f"{name}.cifar100", "svhn": easy}
    notes = {
        "cifar10": "ten classes",
        "cifar100": "a hundred classes",
        "cifar100-coarse": "the images of CIFAR-100 with its twenty coarse labels (ours)",
        "svhn": "house numbers, not mirrored",
    }
    return [
        Variant(
            name=f"{name}.{task}",
            configuration=on_task(
                base,
                data[task],
                _classes(task),
                held_out=None if tested is None else f"{data[task]}&split=test&limit={tested}",
                augmentation=_augmentation(base, task),
            ),
            against=against.get(task),
            claims=(*claims.get(task, ()), *everywhere()),
            note=notes[task],
        )
        for task in notes
        if task in data
    ]


def of_scenes(base: Configuration, size: int, steps: int) -> list[Variant]:
    """A network on the built-in scenes: four answers, harder images, 24 answers, and a control that is as easy.

    Args:
        base: its model without a number of classes, and how it is trained.
        size: side of the images.
        steps: batches of held-out scenes.
    """
    easy = "scenes"
    tasks = {
        easy: ("label=top", 4, None, (), "which kind of disc is topmost: four answers"),
        "scenes-hard": (
            "label=top&difficulty=hard",
            4,
            easy,
            _both("recruitment", "higher", article=RECRUITED),
            "the same question of smaller and fainter discs that may stand anywhere",
        ),
        "scenes-order": (
            "label=order",
            24,
            easy,
            _both("recruitment", "higher", article=RECRUITED),
            "all three kinds from top to bottom, of the same images: 24 answers",
        ),
        "scenes-left": (
            "label=left",
            4,
            easy,
            _both("recruitment", "same", TENTH),
            "the control: which kind is leftmost, the same task turned (ours)",
        ),
    }
    found = []
    for name, (query, classes, against, claims, note) in tasks.items():
        data = f"scenes?{query}&size={size}"
        configuration = on_task(base, data, classes, held_out=f"{data}&split=test&steps={steps}")
        found.append(
            Variant(name=name, configuration=configuration, against=against, claims=(*claims, *everywhere()), note=note)
        )
    return found


def of_language(base: Configuration, context: int, texts: int) -> list[Variant]:
    """A language model on chains of order 1 and 2: the same entropy, more to know.

    Args:
        base: its model without a number of classes, and how it is trained.
        context: symbols of a text.
        texts: how many are held out.
    """
    easy, harder = "language", "language-medium"
    found = []
    for name, difficulty in ((easy, "easy"), (harder, "medium")):
        data = f"text?difficulty={difficulty}&context={context}"
        claims = () if name == easy else _both("recruitment", "higher")
        found.append(
            Variant(
                name=name,
                configuration=on_task(base, data, 8, held_out=f"{data}&split=test&limit={texts}"),
                against=None if name == easy else easy,
                claims=(*claims, *everywhere()),
                note={
                    easy: "the next symbol depends on the last (ours)",
                    harder: "it depends on the last two; the best loss is as low (ours)",
                }[name],
            )
        )
    return found


def on_task(
    base: Configuration,
    data: str,
    classes: int,
    *,
    held_out: str | None = None,
    augmentation: Augmentation | None = None,
) -> Configuration:
    """The same network with another classifier, trained in the same way on other data."""
    word = "num_classes" if base.model.startswith(("timm:", "torchvision:")) else "classes"
    joint = "&" if "?" in base.model else "?"
    return replace(
        base,
        model=f"{base.model}{joint}{word}={classes}",
        data=data,
        held_out=held_out,
        augmentation=base.augmentation if augmentation is None else augmentation,
    )


def everywhere() -> tuple[Claim, ...]:
    """What we ask of every variant: whether clusters are found again, and what the two figures follow."""
    return (
        Claim(measure="stability", expected="present", floor=EXCELLENT),
        Claim(measure="recruitment_undivided", expected="present", floor=TENTH),
        Claim(measure="size_excess", expected="present"),
        Claim(measure="scale", expected="present"),
        Claim(measure="depth_given_size", expected="present"),
    )


def _both(measure: str, expected: Expected, floor: float = 0.0, *, article: str = "") -> tuple[Claim, ...]:
    """A claim on equation 1 and on what the paper's code computes."""
    return tuple(
        Claim(measure=f"{measure}{end}", expected=expected, floor=floor, article=article) for end in FIGURES.values()
    )


def _resnet_claims() -> dict[str, tuple[Claim, ...]]:
    less = "a decreased change in later layers as compared to earlier ones"
    more = "a sharp increase as we move up"
    return {
        "cifar10": _both("recruitment", "reversed", TENTH, article=less),
        "cifar100": (
            *_both("recruitment", "higher", article=RECRUITED),
            *_both("recruitment", "present", TENTH, article=more),
        ),
        "cifar100-coarse": _both("recruitment", "lower"),
        "svhn": (
            *_both("recruitment", "present", TENTH, article="a gradual increase as we move through the layers"),
            *_both("recruitment", "same", TENTH, article="trends similar to CIFAR-10"),
        ),
    }


def _efficientnet_claims() -> dict[str, tuple[Claim, ...]]:
    early = "early and middle layers change most"
    return {
        "cifar10": _both("recruitment_depthwise", "reversed", TENTH, article=f"{early}, later ones minimally"),
        "cifar100": (
            *_both("recruitment", "higher", article=RECRUITED),
            *_both(
                "recruitment_pointwise",
                "present",
                TENTH,
                article="later layers are activated much more than the earlier ones",
            ),
        ),
        "svhn": (
            *_both("recruitment_depthwise", "reversed", TENTH, article=early),
            *_both("recruitment_depthwise", "higher", article="a lot more of the later layers are utilised"),
        ),
    }


def _classes(task: str) -> int:
    return {"cifar100": 100, "cifar100-coarse": 20}.get(task, 10)


def _augmentation(base: Configuration, task: str) -> Augmentation:
    """Mirrored digits are no digits: the paper mirrors SVHN too, ours does not."""
    return replace(base.augmentation, flip=base.augmentation.flip and task != "svhn")
