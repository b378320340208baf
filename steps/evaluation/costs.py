"""What answers cost, the thresholds that follow, and the command-line options for both."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from utils.cli import UserError, real_number

NO_ANSWER = 0.2  # cost of no answer in tables: an answer needs a posterior of 0.8 with errors that cost 1


@dataclass(frozen=True)
class Costs:
    """What answers cost. miss: bona fide called spoof; false_alarm: spoof called bona fide; undecided: no answer; None:
    there is always one."""

    miss: float = 1.0
    false_alarm: float = 1.0
    undecided: float | None = None

    def thresholds(self, prior: float) -> tuple[float, float]:
        """The LLRs up to which `spoof` and above which `bonafide` is the answer of the least expected cost; between
        them `undecided` is. prior: of bona fide, between 0 and 1.

        Chow, "On optimum recognition error and reject tradeoff", IEEE Trans. Information Theory 1970, for two kinds of
        errors: with p the posterior of bona fide, p miss, (1 - p) false_alarm and undecided are compared. Raises
        UserError for costs that are not positive, and for an undecided answer that never costs least.
        """
        for name, cost in (("miss", self.miss), ("false-alarm", self.false_alarm), ("undecided", self.undecided)):
            if cost is not None and not (cost > 0 and math.isfinite(cost)):
                raise UserError(f"--cost-{name} {cost:g}: it is above 0")
        before = math.log(prior / (1 - prior))
        if self.undecided is None:
            both = math.log(self.false_alarm / self.miss) - before + 0.0
            return both, both
        most = self.miss * self.false_alarm / (self.miss + self.false_alarm)
        if self.undecided >= most:
            raise UserError(
                f"--cost-undecided {self.undecided:g}: nothing would ever be undecided; with these costs of a miss"
                f" and a false alarm it has to be below {most:g}"
            )
        spoof = math.log(self.undecided / (self.miss - self.undecided)) - before
        return spoof, math.log((self.false_alarm - self.undecided) / self.undecided) - before


def add_cost_options(parser: argparse.ArgumentParser, undecided: float | None = None) -> None:
    """--prior and the costs. undecided: the cost of no answer if none is given; None: there is always an answer."""
    parser.add_argument(
        "--prior", type=real_number(0, 1), default=0.5, help="prior of bona fide, for the Bayes threshold of the LLR"
    )
    for name, of in (("miss", "bona fide called spoof"), ("false-alarm", "spoof called bona fide")):
        parser.add_argument(
            f"--cost-{name}",
            type=real_number(0),
            metavar="C",
            help=f"cost of {of}, for the Bayes threshold; 1 if not given",
        )
    parser.add_argument(
        "--cost-undecided",
        type=real_number(0),
        default=undecided,
        metavar="C",
        help="cost of no answer: the third verdict, undecided, is given where each answer would cost more",
    )


def costs_of(args: argparse.Namespace) -> Costs | None:
    """What add_cost_options was given; None where no cost was."""
    given = args.cost_miss, args.cost_false_alarm, args.cost_undecided
    if given == (None, None, None):
        return None
    miss, false_alarm = (1.0 if cost is None else cost for cost in given[:2])
    return Costs(miss, false_alarm, args.cost_undecided)
