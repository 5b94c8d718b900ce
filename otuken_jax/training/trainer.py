"""The training loop: stages, validation, plateau, early stopping, checkpoints, resume."""

import contextlib
import dataclasses
import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from otuken_jax.errors import UserError
from otuken_jax.models.otuken3d import Otuken3DModel
from otuken_jax.models.parameters import Params
from otuken_jax.models.pointnet2 import PointNet2
from otuken_jax.training import processes
from otuken_jax.training.batches import BatchPreparer
from otuken_jax.training.learner import Learner
from otuken_jax.training.logging import MetricsLog, check_finite
from otuken_jax.training.optimizer import (
    EarlyStopping,
    OptimizerConfig,
    Plateau,
    set_learning_rate,
)
from otuken_jax.training.sharding import make_mesh
from otuken_jax.training.stages import (
    Stage,
    check_positive,
    count_steps,
    frozen_parts,
    one_pass,
    plan_stages,
    steps_per_epoch,
)
from otuken_jax.training.step import StepConfig, step_knobs
from otuken_jax.training.validation import Validator
from otuken_jax.training.workdir import Progress, Workdir, is_resumable

logger = logging.getLogger(__name__)


class Otuken3DTrainer:
    """Trains an `Otuken3DModel` stage by stage.

        trainer = Otuken3DTrainer(model, train_loader, val_loader, 1e-4, workdir="runs/mine")
        trainer.train(num_epochs=100, save_every=5)

    `Otuken3DModel.from_pretrained("runs/mine")` then loads the best checkpoint, and
    `python -m otuken_jax.generate --checkpoint runs/mine` makes meshes with it.

    `train_epoch` saves nothing. `train` starts anew from what it trained, unless the workdir has a
    checkpoint of a later step: then it goes on from that one, and says so.

    Args:
        model: is updated in place, after every epoch.
        train_loader: an iterable of batches, dicts with `text` (list of str), `points` [b, n, 3],
            `mesh` (a `Meshes`) or `field` (signed distance [b, r, r, r]), `style_text` (optional);
            or a loader of `otuken_jax.data.pipeline`, which resumes exactly.
        val_loader: likewise, finite; without it the training loss steers plateau and stopping.
        learning_rate: of AdamW; overrides the one in `optimizer`.
        preparer: reads texts, points and meshes of the batches, and checkpoints say how; a loader
            of `otuken_jax.data.pipeline` needs one with its own tokenizer and lengths.
        workdir: where checkpoints and logs go; None keeps nothing.
        stage_epochs: epochs per stage; None shares out `train`'s `num_epochs`.
        ornament_epochs: before them, of the ornament alone: style texts against charts, no grids.
        cooldown: share of all epochs, the ornament's too, in which at the end the learning rate
            falls to zero, as planned: a stage that stops early makes it fall at once by its rest.
        mesh: device mesh; None puts everything on one "data" axis.
        min_sharded_size: elements from which on a tensor is split over the "fsdp" axis.
        pictures: called as pictures(trainer, log) after every validation, to draw fixed prompts;
            the log is None in all processes but one.
        pointnet: for P-FID at every validation; without it `fd_d2_N` is logged in its place.

    Raises:
        UserError: `eval_every` or `log_every` is below 1.
    """

    def __init__(
        self,
        model: Otuken3DModel,
        train_loader: Iterable,
        val_loader: Iterable | None = None,
        learning_rate: float = 1e-4,
        *,
        optimizer: OptimizerConfig | None = None,
        step_config: StepConfig | None = None,
        preparer: BatchPreparer | None = None,
        workdir: str | Path | None = None,
        stage_epochs: tuple[int, ...] | None = None,
        ornament_epochs: int = 0,
        fade_fraction: float = 0.1,
        cooldown: float = 0.0,
        plateau_factor: float = 0.5,
        plateau_patience: int = 5,
        eval_every: int = 1,
        log_every: int = 10,
        mesh: Mesh | None = None,
        min_sharded_size: int = 2**16,
        seed: int = 0,
        meta: dict[str, Any] | None = None,
        pictures=None,
        pointnet: PointNet2 | None = None,
    ) -> None:
        check_positive(eval_every=eval_every, log_every=log_every)
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.preparer = preparer or BatchPreparer(model.config.text_encoder_name)
        self.workdir = None if workdir is None else Path(workdir)
        self.stage_epochs = stage_epochs
        self.ornament_epochs = ornament_epochs
        self.fade_fraction = fade_fraction
        self.cooldown = cooldown
        self.plateau_factor = plateau_factor
        self.plateau_patience = plateau_patience
        self.eval_every = eval_every
        self.log_every = log_every
        self.key = jax.random.key(seed)
        self.meta = {"data": self.preparer.meta} | (meta or {})
        self.pictures = pictures
        self._learner = Learner(
            model,
            dataclasses.replace(optimizer or OptimizerConfig(), learning_rate=learning_rate),
            step_config or StepConfig(),
            mesh or make_mesh(),
            min_sharded_size,
        )
        self._validator = Validator(self.step_config, pointnet)
        self.progress = Progress()
        self.step = 0
        self.interrupted = False
        self._signal = "SIGTERM"  # that stopped it: several processes hear no other
        self._iterator: Iterator | None = None
        self._folder: Workdir | None = None
        self._log: MetricsLog | None = None
        self._unsaved = False  # train_epoch has trained since the last start of train

    @property
    def model(self) -> Otuken3DModel:
        """As it was after the last epoch."""
        return self._learner.model

    @property
    def optimizer_config(self) -> OptimizerConfig:
        return self._learner.optimizer

    @property
    def step_config(self) -> StepConfig:
        return self._learner.step_config

    @property
    def mesh(self) -> Mesh:
        """Of devices; another one can be set before the first step."""
        return self._learner.mesh

    @mesh.setter
    def mesh(self, mesh: Mesh) -> None:
        self._learner.mesh = mesh

    @property
    def learning_rate(self) -> float:
        """As the plateau has it, before warm-up and cooldown."""
        return (self.progress.plateau or self.optimizer_config).learning_rate

    def params(self) -> Params:
        """All parameters as they are now."""
        return self._learner.params()

    # The whole run

    def train(
        self, num_epochs: int = 100, save_every: int = 5, early_stopping_patience: int | None = 10
    ) -> dict[str, float]:
        """Trains every stage up to the model's voxel size; returns the last validation metrics.

        With a workdir it saves every `save_every` epochs and at each new best, resumes from the
        newest good checkpoint, and on SIGTERM or Ctrl-C saves after the step and returns with
        `interrupted` set; a second Ctrl-C stops at once. Without one it saves nothing, and warns
        of it.

        Raises:
            UserError: a cooldown is asked for, but the loader does not know its length; a loader
                gives no batch; the checkpoints are of a larger model; `save_every` is below 1.
        """
        check_positive(save_every=save_every)
        self.interrupted = False
        if self.workdir is None and processes.is_primary():
            logger.warning(
                "nothing is saved: save_every=%d needs a folder, Otuken3DTrainer(workdir=...)",
                save_every,
            )
        stages = self._plan(num_epochs)
        self.progress = self._new_stage_progress(stages[0], early_stopping_patience)
        self._iterator = iter(self.train_loader)
        metrics: dict[str, float] = {}
        with contextlib.ExitStack() as stack:
            # However it ends, a second call trains towards the same resolution.
            stack.callback(self.model.set_voxel_size, stages[-1].resolution)
            if self.workdir is not None:
                self._folder = stack.enter_context(contextlib.closing(Workdir(self.workdir)))
                self._log = self._folder.log
                stack.callback(setattr, self, "_log", None)  # train_epoch has none
                self._resume(stages)
            stack.enter_context(processes.handling_stop(self._on_signal))
            for stage in [s for s in stages[self.progress.stage :] if s.epochs]:
                if stage.index != self.progress.stage:
                    self.progress = self._new_stage_progress(stage, early_stopping_patience)
                self.model.set_voxel_size(stage.resolution)
                if not self.progress.finished:  # as that of a checkpoint may be
                    metrics = self._train_stage(stage, save_every)
                if self.interrupted:
                    end = "not saved" if self.workdir is None else "saved"
                    logger.warning("stopped by %s at step %d, %s", self._signal, self.step, end)
                    break
        return metrics

    def _plan(self, num_epochs: int) -> list[Stage]:
        """All stages up to the model's, with their numbers of steps if the loader tells."""
        resolutions = self.model.config.decoder.stage_resolutions[: self.model.stage + 1]
        plan = plan_stages(resolutions, num_epochs, self.stage_epochs, self.ornament_epochs)
        fades = self.fade_fraction > 0 and any(s.epochs for s in plan[1:])
        steps = steps_per_epoch(self.train_loader, fades=fades)
        if steps is None and self.cooldown > 0:
            raise UserError(
                f"cooldown={self.cooldown} needs a train_loader that knows its length; "
                "give it __len__ or leave the cooldown out"
            )
        return count_steps(plan, steps, self.fade_fraction)

    def _new_stage_progress(self, stage: Stage, patience: int | None) -> Progress:
        rate = self.optimizer_config.learning_rate
        plateau = Plateau(rate, self.plateau_factor, self.plateau_patience)
        return Progress(stage=stage.index, plateau=plateau, early_stopping=EarlyStopping(patience))

    def _train_stage(self, stage: Stage, save_every: int) -> dict[str, float]:
        metrics: dict[str, float] = {}
        with tqdm(
            total=stage.num_steps,
            initial=self.progress.stage_step,
            desc=f"{stage.resolution}^3",
            unit="step",
            mininterval=1.0,
            disable=not processes.is_primary(),
        ) as bar:
            while self.progress.epoch < stage.epochs and not self.progress.finished:
                self._prepare(stage)
                set_learning_rate(self._learner.state.opt_state, self.learning_rate)
                ornament_alone = self.progress.epoch < stage.ornament_epochs
                means = self._run_epoch(stage, self._batches(), bar)
                if self.interrupted:
                    self._save()
                    break
                last = self.progress.epoch == stage.epochs
                save = self.progress.epoch % save_every == 0
                # With the ornament alone there is no shape yet to validate.
                due = (last or self.progress.epoch % self.eval_every == 0) and not ornament_alone
                # No metrics: stopped at the end of an epoch, resumed, and nothing to validate with.
                if due and (found := self.validate() or means):
                    metrics = found
                    self._after_validation(stage, metrics, save, last)
                elif save:
                    self._save()
        return metrics

    def validate(self, loader: Iterable | None = None) -> dict[str, float]:
        """Measures on the validation set at the active stage, see `Validation`; alpha 1,
        canonical pose."""
        loader = self.val_loader if loader is None else loader
        if loader is None:
            return {}
        self._learner.place_model()
        return self._validator(self.model, map(self.preparer, loader), self.mesh)

    def _after_validation(
        self, stage: Stage, metrics: dict[str, float], save: bool, last: bool
    ) -> None:
        progress = self.progress
        # Other metrics may lack a value: without a surface, say.
        losses = {n: x for n, x in metrics.items() if n.partition("/")[0] == "loss"}
        good = self._folder and self._folder.newest_path
        check_finite(self.step, losses, good, validation=True)
        if self._log is not None:
            self._log.scalars(self.step, metrics | {"resolution": stage.resolution}, split="val")
        best = metrics["loss"] < progress.early_stopping.best
        stop = progress.early_stopping.step(metrics["loss"])
        if progress.stage_step >= stage.fade_steps:
            progress.plateau.step(metrics["loss"])
        progress.finished = stop or last
        if stop and not last:
            logger.info("stage %d^3 stopped early, no better loss", stage.resolution)
        if save or best or progress.finished:
            self._save(metrics["loss"])
        if self.pictures is not None and self.workdir is not None:
            self.pictures(self, self._log)

    def _batches(self) -> Iterator:
        """A loader that knows its length goes on for ever; any other starts anew each epoch."""
        if is_resumable(self._iterator):
            return self._iterator
        self.progress.epoch_step = 0
        return iter(self.train_loader)

    def _on_signal(self, name: str) -> None:
        self.interrupted, self._signal = True, name

    # One epoch

    def train_epoch(self, loader: Iterable | None = None) -> dict[str, float]:
        """One pass over `loader` at the model's active stage; returns the mean of every metric.

        A stage that was not trained before fades in over the first `fade_fraction` of the pass.
        How many passes there will be is unknown: neither the band's weight nor the rate falls.
        Nothing is saved or logged, with a workdir neither. UserError if the loader gives no batch.
        """
        self.interrupted = False
        loader = self.train_loader if loader is None else loader
        new = self.model.stage > 0 and self.model.stage > self.progress.stage
        if self.model.stage != self.progress.stage:
            self.progress = Progress(stage=self.model.stage)
        self.progress.epoch_step = 0
        steps = steps_per_epoch(loader, fades=new and self.fade_fraction > 0)
        last = self.model.stage == len(self.model.config.decoder.stage_resolutions) - 1
        fade = self.fade_fraction if new else 0.0
        stage = one_pass(self.model.stage, self.model.voxel_size, last, steps, fade)
        self._prepare(stage)
        set_learning_rate(self._learner.state.opt_state, self.learning_rate)
        before = self.step
        try:
            return self._run_epoch(stage, iter(loader), None)
        finally:  # also if it is broken off, unless nothing of it is left
            kept = self.step > before and self._learner.state is not None
            self._unsaved = self._unsaved or kept

    def _prepare(self, stage: Stage) -> None:
        """Tells the learner what trains where the run stands."""
        fading = self.progress.stage_step < stage.fade_steps
        frozen = frozen_parts(stage, fading, self.model.frozen, self.model.pretrained_parts())
        ornament_alone = self.progress.epoch < stage.ornament_epochs
        self._learner.prepare(frozen, ornament_alone=ornament_alone, step=self.step)

    def _run_epoch(self, stage: Stage, batches: Iterator, bar: tqdm | None) -> dict[str, float]:
        """Trains on the rest of an epoch, as prepared; returns the mean of every metric."""
        steps = stage.steps_per_epoch
        history: list[dict[str, float]] = []
        pending = None
        try:
            while steps is None or self.progress.epoch_step < steps:
                batch = next(batches, None)
                if batch is None:
                    break
                knobs = step_knobs(stage, self.progress.stage_step, self.step_config, self.cooldown)
                metrics = self._learner.step(self.preparer(batch), self.key, knobs)
                self.step += 1
                self.progress.stage_step += 1
                self.progress.epoch_step += 1
                if self.progress.stage_step == stage.fade_steps:
                    # The last fade over, pretrained text may train. Before anything is saved: what
                    # is in a checkpoint depends on its position alone.
                    self._learner.sync_model()
                    self._prepare(stage)
                # The metrics of the step before: reading this step's would stall the device.
                if pending is not None:
                    history.append(self._record(*pending, bar))
                pending = (self.step, metrics)
                self.interrupted |= processes.stop_requested(self.step)
                if self.interrupted:
                    break
            if pending is not None:
                history.append(self._record(*pending, bar))
        finally:
            self._learner.sync_model()
        if self.progress.epoch_step == 0:
            raise UserError(
                f"the training loader gave no batch after step {self.step}; give one that starts "
                "anew with every epoch, such as a list"
            )
        if not self.interrupted:
            self.progress.epoch_step = 0
            self.progress.epoch += 1
            if self.progress.epoch == stage.ornament_epochs:
                self._prepare(stage)  # all parts train from here on; before anything is saved
        if not history:
            return {}
        return {k: float(np.mean([h[k] for h in history])) for k in history[0]}

    def _record(self, step: int, metrics: dict, bar: tqdm | None) -> dict[str, float]:
        values = {k: float(v) for k, v in jax.device_get(metrics).items()}
        check_finite(step, values, self._folder and self._folder.newest_path)
        if bar is not None:
            bar.update()
            bar.set_postfix({k: f"{values[k]:.3f}" for k in ("loss", "iou") if k in values})
        if self._log is not None and step % self.log_every == 0:
            self._log.scalars(step, values)
        return values

    # Checkpoints

    def _resume(self, stages: list[Stage]) -> None:
        """Goes on from the workdir's newest good checkpoint, if it has one."""
        step = self._folder.newest
        unsaved, self._unsaved = self._unsaved, False
        if step is None:
            return
        if unsaved and self.step > step:
            words = "starts anew from this trainer's step %d: the checkpoint of step %d is older"
            logger.warning(words, self.step, step)
            return
        if unsaved:
            logger.warning(
                "what train_epoch trained is given up for the checkpoint of step %d", step
            )
        self.progress = self._folder.read_progress(self.model)
        self.step = step
        self._prepare(stages[self.progress.stage])
        self._learner.load(
            self._folder.restore(
                self._learner.saved_params(), self._learner.state.opt_state, self._iterator
            )
        )
        logger.info("resumed from step %d", step)

    def _save(self, loss: float = math.inf) -> None:
        """`loss`: of a validation of these very weights; without one it is never the best."""
        if self._folder is not None and self.step != self._folder.newest:
            self._folder.save(
                self.step,
                self._learner.saved_params(),
                self._learner.state.opt_state,
                self._iterator,
                model=self.model,
                progress=self.progress,
                loss=loss,
                meta=self.meta,
            )
