"""Scores -> DET curve, EER, tandem detection cost, tables and plots of the results."""
