"""The report: one HTML page that compares systems. A module for each section; page.py: the page and the blocks of its
sections; systems.py: which trainings are compared, and the content of their folders; figures.py: pictures as SVG."""
