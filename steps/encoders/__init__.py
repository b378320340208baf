"""Pretrained speech encoders: their folders, weights, and what comes before their layers."""
