"""Renders plates as one self-contained HTML page, charts and slides as files; knows no phenomenon, never torch."""

from weightatlas.atlas.charts import save_chart, theme
from weightatlas.atlas.contact_sheet import save_contact_sheet
from weightatlas.atlas.page import write_atlas

__all__ = ["save_chart", "save_contact_sheet", "theme", "write_atlas"]
