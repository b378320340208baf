#!/usr/bin/env python3
"""Lets a recipe that only evaluates use a training of another recipe: links it, and writes its front end's conf.

Prints `EXPERIMENT SEED FRONTEND-CONF`. The training itself is left as it is: scores and results go beside the links.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps import frontend as frontends
from steps.evaluation.overlap import TRAIN_SET
from utils import conf as conf_files
from utils.cli import UserError, make_parser, run_program
from utils.files import write_aside

LINKED = ("final.pt", "conf.yaml", "detector.json", "calibration.json", "domain.npz", TRAIN_SET)


def adopt(training: Path, exp_dir: Path) -> tuple[Path, int]:
    """Make EXP-DIR/<experiment>/seed<N> with links to the training's files. Raises UserError where it is none, or where
    another training of that name is there."""
    source = training.resolve()
    name = re.fullmatch(r"seed(\d+)", source.name)
    if name is None or not (source / "final.pt").is_file() or not (source / "conf.yaml").is_file():
        raise UserError(
            f"--exp {training}: no finished training; give folders seed<N> that hold final.pt and conf.yaml, such as"
            " egs/asvspoof2019/la/exp/NAME/seed1"
        )
    folder = exp_dir / source.parent.name / source.name
    folder.mkdir(parents=True, exist_ok=True)
    for file in LINKED:
        link, target = folder / file, source / file
        if link.is_symlink() and link.resolve() != target:
            raise UserError(
                f"{folder}: has the training {link.resolve().parent} already, of the same name as {source}; give"
                " another --exp-dir"
            )
        if target.is_file() and not link.is_symlink():
            link.symlink_to(target)
    return folder.parent, int(name[1])


def write_frontend(folder: Path, exp_dir: Path) -> Path:
    """The conf of the front end of the training in `folder`, as a file of EXP-DIR/frontends. Front ends of one name
    that differ get files of their own."""
    values = conf_files.read_yaml(folder / "conf.yaml")
    if not isinstance(values.get("frontend"), dict):
        raise UserError(f"{folder / 'conf.yaml'}: it has no frontend (a group of values); train again")
    conf = frontends.conf_from_dict(values["frontend"], str(folder / "conf.yaml"))
    text = conf_files.yaml_text(conf_files.to_dict(conf))
    name = values.get("frontend_name") or conf.type
    for number in range(1, 1000):
        path = exp_dir / "frontends" / f"{name}{'' if number == 1 else f'_{number}'}.yaml"
        if not path.exists():
            with write_aside(path) as handle:
                handle.write(text)
        if path.read_text() == text:
            return path
    raise UserError(f"{exp_dir / 'frontends'}: too many front ends named {name}; give another --exp-dir")


def main() -> None:
    parser = make_parser(__doc__, "steps/adopt_training.py egs/asvspoof2019/la/exp/NAME/seed1 egs/in_the_wild/exp")
    parser.add_argument("training", metavar="TRAINING", type=Path, help="folder of one training, with final.pt")
    parser.add_argument("exp_dir", metavar="EXP-DIR", type=Path, help="where to link it")
    args = parser.parse_args()
    experiment, seed = adopt(args.training, args.exp_dir)
    print(experiment, seed, write_frontend(experiment / f"seed{seed}", args.exp_dir))


if __name__ == "__main__":
    run_program(main)
