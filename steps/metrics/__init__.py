"""Figures from arrays of scores: DET curve, EER, t-DCF, Cllr, bootstrap intervals, paired tests. NumPy and SciPy
only."""
