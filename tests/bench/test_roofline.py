"""tests/bench/roofline.py: operations, bytes and bounds of what is timed."""

from __future__ import annotations

import sys

import pytest
import torch

from tests.bench import roofline


def test_operations_and_bytes_of_a_layer():
    layer = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.nn.BatchNorm2d(5))
    x = torch.randn(2, 3, 8, 4)
    with roofline.Timed(peak=1e9, bandwidth=1e6) as timed:
        layer(x).view(-1).sum().backward()
    forward, backward = timed.kinds["convolutions"], timed.kinds["convolutions, backward"]
    operations = 2 * 2 * 8 * 4 * 5 * 3 * 9  # a multiplication and an addition at each place for each weight
    assert forward[1] == operations and backward[1] == operations  # the input needs no gradient
    moved = 4 * (x.numel() + 5 * 3 * 9 + 2 * 5 * 8 * 4)
    assert forward[2] == moved and forward[3] == pytest.approx(moved / 1e6)  # by its bytes: they are the slower part
    assert {"batch norm", "batch norm, backward"} <= set(timed.kinds)
    assert all(took > 0 and bound > 0 for took, _, _, bound in timed.kinds.values())


def test_views_move_nothing():
    with roofline.Timed(1e9, 1e9) as timed:
        torch.ones(4, 4).t()
    assert sum(values[2] for values in timed.kinds.values()) == 4 * 16  # the ones


def test_the_program(monkeypatch, capsys):
    monkeypatch.setattr(roofline, "peak_rates", lambda: (1e11, 1e10))
    short = "--model ecanet9_narrow --method self_distill --batch-size 4 --frames 24 --bins 45 --steps 1"
    monkeypatch.setattr(sys, "argv", ["roofline.py", *short.split()])
    threads = torch.get_num_threads()
    roofline.main()
    torch.set_num_threads(threads)
    said = capsys.readouterr().out
    assert said.startswith("one thread, float32: at most 100 GFLOP/s and 10.0 GB/s\n")
    assert "| all |" in said and "100 %" in said and "times the roofline's bound\n" in said
