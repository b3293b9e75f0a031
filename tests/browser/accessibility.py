"""What the accessibility checker finds on an open page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def serious_faults(page: Page, axe: str) -> list[tuple[str, str]]:
    """Rules that are broken in a serious way, each with the first element that breaks it; `axe` is the script."""
    page.evaluate(f"{axe}; 0")
    found = page.evaluate("async () => (await axe.run(document, { resultTypes: ['violations'] })).violations")
    return [
        (violation["id"], violation["nodes"][0]["html"][:160])
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
