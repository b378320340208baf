"""The report: one HTML page that compares systems. A module for each section; page.py puts them together.

systems.py: which trainings are compared, and what lies in their folders; figures.py: pictures as SVG; blocks.py: what
sections consist of.
"""
