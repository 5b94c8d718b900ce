"""A whole training run from a configuration: data, model, trainer, pictures."""

import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from otuken_jax.compile_cache import enable_compile_cache
from otuken_jax.config import check_config, model_config, optimizer_config, step_config, to_json
from otuken_jax.data.build import build_motif_dataset
from otuken_jax.data.pipeline import Draws, Loader, Source, make_loader
from otuken_jax.data.records import read_manifest
from otuken_jax.data.text import load_tokenizer
from otuken_jax.errors import UserError
from otuken_jax.generation import Generator, Prompt
from otuken_jax.geometry.render import Painter
from otuken_jax.metrics_frechet import load_pointnet
from otuken_jax.models.otuken3d import Otuken3DModel
from otuken_jax.models.parameters import split_model
from otuken_jax.training import processes
from otuken_jax.training.batches import BatchPreparer
from otuken_jax.training.loading import LoadedModel
from otuken_jax.training.logging import MetricsLog
from otuken_jax.training.sharding import check_batch_size, make_mesh
from otuken_jax.training.trainer import Otuken3DTrainer

logger = logging.getLogger(__name__)
PORTED = {"text_encoder": "t5", "point_encoder": "point-e/sdf"}  # names in the converter
SURFACE_POINTS = 2048  # in each record; a batch takes some of them


def build_model(config: ConfigDict) -> Otuken3DModel:
    """The model of a configuration, with its pretrained encoders if it names some.

    Raises:
        UserError: pretrained weights are missing; the message says which and how to get them.
    """
    settings = config.model
    weights = {}
    if settings.pretrained:
        weights = {part: settings[part].weights for part in PORTED}
        missing = [f"{PORTED[p]} at {w}" for p, w in weights.items() if not Path(w).is_dir()]
        if missing:
            raise UserError(
                f"pretrained weights are missing: {' and '.join(missing)}; make them with "
                "`python -m porting`, or train from scratch with --config.model.pretrained=False"
            )
    return Otuken3DModel(
        voxel_size=settings.voxel_size,
        weights=weights,
        config=model_config(config),
        seed=config.train.seed,
    )


def build_preparer(config: ConfigDict) -> BatchPreparer:
    """How the run reads texts and points, by the text encoder's tokenizer."""
    name = "bytes"
    if config.model.pretrained:
        weights = config.model.text_encoder.weights
        name = weights if Path(weights).is_dir() else config.model.text_encoder.name
    return BatchPreparer(
        load_tokenizer(name),
        num_points=config.model.point_encoder.num_points,
        text_length=config.data.text_length,
        style_length=config.data.style_length,
    )


def data_directory(config: ConfigDict, workdir: Path) -> Path:
    """Where the procedural records of a run are."""
    return Path(config.data.directory) if config.data.directory else workdir / "data"


def parse_sources(text: str) -> list[tuple[str, float]]:
    """Names and weights from `config.data.source`: "motifs", a folder, or "motifs:0.7,DIR:0.3".

    Raises:
        UserError: a weight is not above zero, a name is empty or comes twice.
    """
    parsed = []
    for part in text.split(","):
        name, colon, weight = part.strip().rpartition(":")
        try:
            parsed.append((name, float(weight)) if colon else (weight, 1.0))
        except ValueError:  # the colon belongs to the name
            parsed.append((part.strip(), 1.0))
    names = [name for name, _ in parsed]
    fit = all(name and 0 < weight < float("inf") for name, weight in parsed)
    if not fit or len(set(names)) < len(names):
        raise UserError(
            f"config.data.source={text!r}: write motifs, a prepared folder, or several with "
            "weights above zero, motifs:0.7,FOLDER:0.3"
        )
    return parsed


def build_data(config: ConfigDict, workdir: Path) -> list[Source]:
    """The data sets to train on; makes the procedural one, or finds it made.

    Raises:
        UserError: a folder holds no data set, or they do not fit together or the model.
    """
    sources = []
    for name, weight in parse_sources(config.data.source):
        directory = build_motifs(config, workdir) if name == "motifs" else Path(name)
        sources.append(Source(directory, weight))
    sizes = {s.directory: read_manifest(s.directory)["arguments"]["resolution"] for s in sources}
    wanted = config.model.voxel_size
    if len(set(sizes.values())) > 1 or min(sizes.values()) < wanted:
        held = ", ".join(f"{directory} has {size}^3" for directory, size in sizes.items())
        raise UserError(
            f"the data must be of one resolution, at least the model's {wanted}^3 ({held}); "
            "prepare the meshes again with another --resolution"
        )
    return sources


def build_motifs(config: ConfigDict, workdir: Path) -> Path:
    """Makes the procedural data set, or finds it made; returns its folder."""
    data = config.data
    directory = data_directory(config, workdir)
    if not processes.is_primary():
        processes.wait_for_all("data")  # the first process makes it, on a disk that all see
        return directory
    build_motif_dataset(
        directory,
        num_shapes=data.num_shapes,
        resolution=data.resolution,
        num_points=max(SURFACE_POINTS, config.model.point_encoder.num_points),
        seed=config.train.seed,
        coarsest=data.coarsest,
        hosts=tuple(data.hosts),
        motifs=tuple(data.motifs),
        styles=tuple(data.styles),
        num_val=data.num_val,
        num_heldout=data.num_heldout,
        num_heldout_styles=data.num_heldout_styles,
        num_heldout_phrasing=data.num_heldout_phrasing,
        heldout_styles=tuple(data.heldout_styles),
        free=data.free,
    )
    processes.wait_for_all("data")
    return directory


def build_loaders(
    config: ConfigDict, sources: list[Source], preparer: BatchPreparer
) -> tuple[Loader, Loader]:
    """Training and validation batches."""
    data = config.data
    common: dict[str, Any] = {
        "batch_size": data.batch_size,
        "seed": config.train.seed,
        "num_points": preparer.num_points,
        "tokenizer": preparer.tokenizer,
        "text_length": preparer.text_length,
        "style_length": preparer.style_length,
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
        "num_workers": data.num_workers,
    }
    draws = Draws(
        data.text_only,
        data.text_and_points,
        data.ornament_in_caption,
        data.one_sentence,
        data.style_dropout,
        data.full_caption,
        data.other_form,
        data.unfamiliar,
    )
    return (
        make_loader(sources, "train", draws=draws, **common),
        make_loader(sources, "val", draws=None, **common),
    )


class PromptPictures:
    """Logs a picture and a mesh of each fixed prompt; called after every validation.

    Without OpenGL there are no pictures: that is said once, and the meshes are logged all the same.
    """

    def __init__(self, prompts: tuple[str, ...]) -> None:
        self.prompts = prompts
        self.paint = Painter(logger.warning)

    def __call__(self, trainer: Otuken3DTrainer, log: MetricsLog | None) -> None:
        modeldef, params = split_model(trainer.model)
        params = processes.local_params(params)
        if log is None:
            return
        generator = Generator(LoadedModel(modeldef.bind(params), trainer.meta, trainer.step))
        for number, text in enumerate(self.prompts, start=1):
            try:
                mesh = generator(Prompt(text)).mesh
            except UserError as error:  # an untrained field has no surface yet
                logger.info("prompt %d: %s", number, error)
                continue
            colors = np.rint(255 * mesh.colors).astype(np.uint8)
            picture = self.paint(mesh, 256)
            if picture is not None:
                log.image(trainer.step, f"prompt_{number}", picture)
            log.mesh(trainer.step, f"prompt_{number}", mesh.vertices, mesh.faces, colors)


def build_trainer(config: ConfigDict, workdir: Path) -> Otuken3DTrainer:
    """Everything of a run, ready to train; raises UserError for what cannot work."""
    check_config(config)  # first: the data takes minutes to build
    if config.train.deterministic:
        # XLA reads it when it first looks for devices. The CPU gives the same bits anyway.
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    enable_compile_cache()
    mesh = make_mesh(config.mesh.data, config.mesh.fsdp)
    check_batch_size(mesh, config.data.batch_size)
    model = build_model(config)
    preparer = build_preparer(config)
    sources = build_data(config, workdir)
    train_loader, val_loader = build_loaders(config, sources, preparer)
    meta = {
        "config_sha256": hashlib.sha256(to_json(config).encode()).hexdigest(),
        "revision": revision(Path(__file__).parents[2]),
    }
    pointnet_weights = config.log.pointnet_weights
    return Otuken3DTrainer(
        model,
        train_loader,
        val_loader,
        config.optim.learning_rate,
        optimizer=optimizer_config(config),
        step_config=step_config(config),
        preparer=preparer,
        workdir=workdir,
        stage_epochs=tuple(config.train.stage_epochs),
        ornament_epochs=config.train.ornament_epochs,
        fade_fraction=config.train.fade_fraction,
        cooldown=config.optim.cooldown,
        plateau_factor=config.optim.plateau_factor,
        plateau_patience=config.optim.plateau_patience,
        eval_every=config.train.eval_every,
        log_every=config.log.every,
        mesh=mesh,
        min_sharded_size=config.mesh.min_sharded_size,
        seed=config.train.seed,
        meta=meta,
        pictures=PromptPictures(tuple(config.log.prompts)) if config.log.prompts else None,
        pointnet=load_pointnet(pointnet_weights) if pointnet_weights else None,
    )


def revision(clone: Path) -> str | None:
    """The commit that a clone is at, with "-dirty" if files differ; None where that is not known.

    None also for an installed package, which may lie in the folder of someone else's project.
    """
    if not (clone / ".git").exists():
        return None
    command = ["git", "-C", str(clone), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        found = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git here, or a clone that it will not read: a run goes on without
    return found.stdout.strip()


def train(config: ConfigDict, workdir: Path) -> Otuken3DTrainer:
    """Trains, or goes on training, in `workdir`."""
    trainer = build_trainer(config, workdir)
    metrics = trainer.train(
        save_every=config.checkpoint.save_every,
        early_stopping_patience=config.train.early_stopping_patience,
    )
    if not metrics and not trainer.interrupted:
        print(f"nothing left to train: the run ended at step {trainer.step}", file=sys.stderr)
    elif not trainer.interrupted:
        print(
            f"step {trainer.step}: validation loss {metrics['loss']:.4f}, "
            f"IoU {metrics.get('iou', float('nan')):.3f}; checkpoints in {workdir / 'checkpoints'}",
            file=sys.stderr,
        )
    return trainer
