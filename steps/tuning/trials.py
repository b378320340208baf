"""The trials of a sweep: kept in SQLite by Optuna, shared by any number of workers, on one machine or a shared disk.

A worker holds a lock on its trial's folder, and so does the training that it started. The system lets go of a lock when
its last holder has ended, however it ended: so a trial that is running but not locked was left by a worker that is
gone, and the next worker takes it up where its trainings stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from steps.tuning.space import ParameterConf, SweepConf
from utils.cli import UserError
from utils.files import read_json, write_json

try:
    import optuna
    from optuna.trial import TrialState
except ImportError:  # an extra
    optuna = None

_NAME = "sweep"
_DIGITS = 4  # significant, of a value that is drawn
_AS_GIVEN = "as_given"  # of a trial: the keys whose values were not drawn


def require_optuna() -> None:
    """Raises UserError, which says how to get it, where there is no Optuna."""
    if optuna is None:
        raise UserError(
            "tuning needs optuna, which is not installed here; in the toolkit's folder give\n"
            "  python3 -m pip install -c constraints.txt -r requirements-sweep.txt"
        )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One worker after the other."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _try_to_hold(path: Path) -> IO | None:
    """A lock on `path` until what is returned is closed, here and in the processes that have it too; None: held
    already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle


@dataclass(frozen=True)
class Claim:
    """A trial that this worker holds. values: by key; lock: to be handed to what it starts; taken_up: from another."""

    number: int
    folder: Path
    values: dict[str, float]
    lock: IO
    taken_up: bool


@dataclass(frozen=True)
class TrialResult:
    """state: complete, pruned, diverged or running; dev_eer: percent, by seed; mean: over all seeds, of complete
    ones."""

    number: int
    state: str
    values: dict[str, float]
    dev_eer: dict[int, float]
    mean: float | None


class Trials:
    """The trials kept in `folder`, which must exist; requires Optuna. first: by key, values that the first trial has;
    the others are drawn."""

    def __init__(self, folder: Path, conf: SweepConf, first: Mapping[str, float]):
        self.folder, self.conf, self._first = folder, conf, dict(first)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self.alone():
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{folder / 'trials.db'}", engine_kwargs={"connect_args": {"timeout": 60}}
            )
            self._study = optuna.create_study(storage=storage, study_name=_NAME, load_if_exists=True)

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Held by one worker at a time."""
        return _alone(self.folder / "sweep.lock")

    def _sampler(self, drawn: int) -> Any:
        """drawn: trials before the next one; each is drawn by a seed of its own, whichever worker draws it."""
        seed = 100_003 * self.conf.sampler_seed + drawn
        if self.conf.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.conf.startup_trials)
        return optuna.samplers.RandomSampler(seed=seed)

    def _folder_of(self, number: int) -> Path:
        return self.folder / f"trial{number}"

    def _values(self, trial: Any) -> dict[str, float] | None:
        """None where its worker ended before they were drawn."""
        if any(p.key not in trial.params for p in self.conf.parameters):
            return None
        exact = {p.key for p in self.conf.parameters if p.whole} | set(trial.user_attrs.get(_AS_GIVEN, ()))
        return {
            p.key: trial.params[p.key] if p.key in exact else float(f"{trial.params[p.key]:.{_DIGITS}g}")
            for p in self.conf.parameters
        }

    @staticmethod
    def _distribution(p: ParameterConf) -> Any:
        kind = optuna.distributions.IntDistribution if p.whole else optuna.distributions.FloatDistribution
        return kind(*p.ends, log=p.log)

    def claim(self, total: int) -> Claim | None:
        """A trial that another worker has left, or else a new one, as long as there are fewer than `total`."""
        with self.alone():
            drawn = self._study.get_trials(deepcopy=False)
            for trial in drawn:
                if trial.state != TrialState.RUNNING:
                    continue
                folder = self._folder_of(trial.number)
                lock = _try_to_hold(folder / "lock")
                if lock is None:
                    continue
                values = self._values(trial)
                if values is None:
                    self._study.tell(trial.number, state=TrialState.FAIL)
                    lock.close()
                    continue
                return Claim(trial.number, folder, values, lock, True)
            if sum(self._values(trial) is not None for trial in drawn) >= total:
                return None
            if self._first and not any(t.state == TrialState.WAITING or self._values(t) for t in drawn):
                self._study.enqueue_trial(self._first, {_AS_GIVEN: list(self._first)})
            self._study.sampler = self._sampler(sum(trial.state != TrialState.WAITING for trial in drawn))
            asked = self._study.ask({p.key: self._distribution(p) for p in self.conf.parameters})
            folder = self._folder_of(asked.number)
            return Claim(asked.number, folder, self._values(asked), _try_to_hold(folder / "lock"), False)

    def finish(self, claim: Claim, state: str, dev_eer: dict[int, float]) -> None:
        """Keep what a trial gave, and let go of it. state: complete, pruned or diverged."""
        write_json(claim.folder / "result.json", {"state": state, "dev_eer": dev_eer})
        told = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "diverged": TrialState.FAIL}[state]
        value = statistics.fmean(dev_eer.values()) if state == "complete" else None
        with self.alone():
            self._study.tell(claim.number, value, told)
        claim.lock.close()

    def results(self) -> list[TrialResult]:
        """By number; those whose values were never drawn are left out."""
        found = []
        for trial in self._study.get_trials(deepcopy=False):
            values = self._values(trial)
            if values is None:
                continue
            state, dev_eer = "running", {}
            if trial.state.is_finished():
                kept = read_json(self._folder_of(trial.number) / "result.json")
                state, dev_eer = kept["state"], {int(seed): eer for seed, eer in kept["dev_eer"].items()}
            mean = statistics.fmean(dev_eer.values()) if state == "complete" else None
            found.append(TrialResult(trial.number, state, values, dev_eer, mean))
        return found

    def importances(self) -> dict[str, float]:
        """Each key's share of the variance of the dev EER, by fANOVA: Hutter, Hoos and Leyton-Brown, ICML 2014. Empty
        where too few trials are complete for it to say anything."""
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < max(self.conf.startup_trials, 5) or len({trial.value for trial in complete}) < 2:
            return {}
        return optuna.importance.get_param_importances(
            self._study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )


def is_hopeless(dev_eer: dict[int, float], seeds: Sequence[int], others: Sequence[TrialResult]) -> bool:
    """Is the mean over the seeds trained so far worse than the median of what complete trials had over the same seeds?
    Never before three of them are there."""
    done = [seed for seed in seeds if seed in dev_eer]
    means = [statistics.fmean(other.dev_eer[s] for s in done) for other in others if other.state == "complete"]
    return len(means) >= 3 and statistics.fmean(dev_eer[s] for s in done) > statistics.median(means)
