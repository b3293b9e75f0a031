"""Figure: how well names alone tell the order of a network, over every network of timm.

The weights' names of each network, built without values, are sorted as safetensors sorts them, put in order again and
compared with the order of the modules: Spearman's rank correlation, and whether the first and the last weight are
right. The order of modules is not the order of the signal in every network, so that 1 cannot be reached. No claim is
made; the page on checkpoints gives the figures.
"""

from __future__ import annotations

import sys
import warnings
from statistics import mean, median

import torch
from scipy.stats import spearmanr

from weightatlas.checkpoints import TensorInfo, import_torchvision
from weightatlas.checkpoints.ordering import in_network_order


def weights_of(name: str) -> list[str]:
    """The names of a network's weights in the order of its modules; none where it cannot be built without values."""
    import timm

    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = timm.create_model(name, pretrained=False)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AssertionError):
        return []
    return [key for key in model.state_dict() if key.endswith(".weight")]


def main() -> int:
    """Print the figures; the names of networks to try may be given, all of them otherwise."""
    import_torchvision()
    import timm

    correlations, first, last = [], 0, 0
    for name in sys.argv[1:] or timm.list_models():
        order = weights_of(name)
        if len(order) < 2:
            continue
        tensors = [TensorInfo(key, key.rpartition(".")[0], "weight", (1,), "float32", 4, "") for key in sorted(order)]
        found = [tensor.name for tensor in in_network_order(tensors)]
        place = {key: number for number, key in enumerate(order)}
        correlations.append(float(spearmanr([place[key] for key in found], range(len(found))).statistic))
        first += found[0] == order[0]
        last += found[-1] == order[-1]
    count = len(correlations)
    print(f"{count} networks: first weight right in {first}, last in {last}")
    print(f"rank correlation: mean {mean(correlations):.3f}, median {median(correlations):.4f}")
    print(
        f"above .99 in {sum(value > 0.99 for value in correlations)}, 1 in {sum(value == 1 for value in correlations)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
