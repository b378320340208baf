"""Figures -> text, tables, plots, RESULTS.md and the report. Each module of `report/` makes one section of the page."""
