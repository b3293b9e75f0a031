"""`python -m tests.sweep [--results FILE] [--table PAGE] [--only TEXT]`: convert the zoos' networks and take a step."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.sweep.networks import timm_networks, torchvision_networks
from tests.sweep.table import refresh
from tests.sweep.trial import GIGABYTES, RECIPES, SECONDS, tried


def main() -> int:
    """Try what the file of results does not have yet, append it, and refresh the table of the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description="Convert the zoos' networks.")
    parser.add_argument("--results", type=Path, default=Path("docs/_build/sweep.jsonl"), help="one line a trial")
    parser.add_argument("--page", type=Path, default=Path("docs/conversion.md"), help="whose table is refreshed")
    parser.add_argument("--recipe", action="append", choices=RECIPES, help="both if left out")
    parser.add_argument("--only", default="", help="networks whose name has this text")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for one network")
    parser.add_argument("--gigabytes", type=int, default=GIGABYTES, help="of memory for one network")
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    networks = [one for one in (*torchvision_networks(), *timm_networks()) if options.only in one[0]]
    there = {(one["source"], one["recipe"]) for one in records(options.results)}
    for place, (source, family) in enumerate(networks, 1):
        recipes = [recipe for recipe in options.recipe or RECIPES if (source, recipe) not in there]
        if not recipes:
            continue
        found = tried(source, family, recipes, seconds=options.seconds, gigabytes=options.gigabytes)
        with options.results.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(one) + "\n" for one in found)
        sys.stdout.write(f"{place}/{len(networks)} {source}: {', '.join(one['outcome'] for one in found)}\n")
        sys.stdout.flush()
    if options.page.exists() and not options.only:
        refresh(options.page, records(options.results))
    return 0


def records(path: Path) -> list[dict[str, object]]:
    """What was found so far; a later line of the same network and recipe replaces an earlier one."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return list({(one["source"], one["recipe"]): one for one in map(json.loads, lines)}.values())


if __name__ == "__main__":
    sys.exit(main())
