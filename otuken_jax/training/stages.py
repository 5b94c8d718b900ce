"""Progressive growing: which parameters train in which stage, and how a stage fades in."""

import dataclasses
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from otuken_jax.errors import UserError
from otuken_jax.models.decoder import DecoderConfig
from otuken_jax.models.otuken3d import PARTS
from otuken_jax.models.parameters import Params

logger = logging.getLogger(__name__)
# What the relief's loss reaches beside the text encoder: from a style text to a relief on a chart.
ORNAMENT = (
    "style_encoder.text_proj.",
    "style_encoder.text_norm.",
    "style_encoder.queries",
    "style_encoder.attention.",
    "style_encoder.ornament_mlp.",
    "decoder.ornament.layers.",
    "decoder.ornament.film.",
    "decoder.ornament.coefficients.",
    "decoder.ornament.out.",
)
DEFAULT_SHARES = {1: (1.0,), 2: (0.4, 0.6), 3: (0.3, 0.2, 0.5)}


@dataclass(frozen=True)
class Stage:
    """One resolution of the training plan."""

    index: int  # of the decoder's stage
    resolution: int
    epochs: int
    ornament_epochs: int = 0  # the first of these train the ornament alone
    last: bool = False  # of those that are trained
    steps_per_epoch: int | None = None  # None if nothing says how many there will be
    num_steps: int | None = None  # of all epochs; likewise, and None if more may follow
    steps_after: int = 0  # of the stages after it
    run_steps: int | None = None  # of all stages
    fade_steps: int = 0  # alpha grows from 0 to 1 over these

    def alpha(self, step: int) -> float:
        """Fade-in weight at the stage's own step number, from 0."""
        return 1.0 if step >= self.fade_steps else (step + 1) / (self.fade_steps + 1)

    def share_left(self, step: int) -> float:
        """What is left of a stage of known length at its own step number: from 1 down to 0."""
        return max(0.0, 1 - step / self.num_steps)

    def run_left(self, step: int) -> float:
        """The same of the whole run, as planned: a stage that stops early counts in full."""
        return (self.steps_after + self.share_left(step) * self.num_steps) / self.run_steps


def plan_stages(
    resolutions: tuple[int, ...],
    num_epochs: int,
    epochs: tuple[int, ...] | None = None,
    ornament_epochs: int = 0,
) -> list[Stage]:
    """Stages and their epochs: as given, or `num_epochs` shared out (30 / 20 / 50 % for three).

    The first stage that has epochs begins with `ornament_epochs` more.
    """
    if epochs is None:
        shares = DEFAULT_SHARES.get(len(resolutions), (1 / len(resolutions),) * len(resolutions))
        ends = [round(num_epochs * sum(shares[: i + 1])) for i in range(len(shares))]
        epochs = tuple(b - a for a, b in zip([0, *ends[:-1]], ends, strict=True))
    if len(epochs) != len(resolutions):
        raise ValueError(f"{len(epochs)} epoch numbers for {len(resolutions)} stages")
    used = [i for i, e in enumerate(epochs) if e] or [0]
    more = [ornament_epochs if i == used[0] else 0 for i in range(len(epochs))]
    return [
        Stage(i, resolution, epochs[i] + more[i], more[i], last=i == used[-1])
        for i, resolution in enumerate(resolutions)
    ]


def one_pass(
    index: int, resolution: int, last: bool, steps: int | None, fade_fraction: float
) -> Stage:
    """A stage of one epoch, of a plan that nobody knows."""
    fade_steps = int(fade_fraction * (steps or 0))
    return Stage(
        index, resolution, epochs=1, last=last, steps_per_epoch=steps, fade_steps=fade_steps
    )


def frozen_parts(
    stage: Stage, fading: bool, frozen: Iterable[str], pretrained: Iterable[str]
) -> tuple[str, ...]:
    """Pretrained encoders stay frozen; the text encoder until the last stage has faded in."""
    parts = {*frozen, *pretrained}
    if stage.last and not fading and "text_encoder" not in frozen:
        parts.discard("text_encoder")
    return tuple(sorted(parts))


def check_positive(**numbers: int) -> None:
    """UserError if one of the trainer's numbers is below 1."""
    for name, value in numbers.items():
        if value < 1:
            raise UserError(f"{name}={value}; give a number from 1")


def steps_per_epoch(loader: Iterable, *, fades: bool) -> int | None:
    """Batches per epoch, if the loader knows; else `fades` warns that no stage will fade in."""
    steps = getattr(loader, "steps_per_epoch", None)
    if steps is None and hasattr(loader, "__len__"):
        steps = len(loader)
    if steps is None and fades:
        logger.warning("new stages start without fade-in: it needs a train_loader with __len__")
    return steps


def count_steps(
    plan: list[Stage], steps_per_epoch: int | None, fade_fraction: float
) -> list[Stage]:
    """Fills in the numbers of steps, if known; the first stage has nothing to fade in from."""
    if steps_per_epoch is None:
        return plan
    numbers = [stage.epochs * steps_per_epoch for stage in plan]
    return [
        dataclasses.replace(
            stage,
            steps_per_epoch=steps_per_epoch,
            num_steps=number,
            steps_after=sum(numbers[i + 1 :]),
            run_steps=sum(numbers),
            fade_steps=int(fade_fraction * number) if stage.index > 0 else 0,
        )
        for i, (stage, number) in enumerate(zip(plan, numbers, strict=True))
    ]


def parameter_stage(name: str, config: DecoderConfig) -> int:
    """The first stage that uses the named parameter: 0 for all but the decoder's later parts."""
    part, _, rest = name.partition(".")
    if part != "decoder":
        return 0
    kind, _, rest = rest.partition(".")
    index = rest.partition(".")[0]
    if kind == "blocks":
        return config.block_stage(int(index))
    if kind == "heads":
        return int(index)
    if kind == "attention":
        return config.block_stage(config.trunk_resolutions.index(int(index)))
    return 0


def trainable_groups(
    params: Params,
    stage: int,
    frozen: tuple[str, ...],
    config: DecoderConfig,
    *,
    ornament_alone: bool = False,
) -> dict[str, str]:
    """Optimizer group of every parameter that trains in `stage`; the others are absent.

    Groups are named by the stage in which their parameters start. The text encoder is a group of
    its own: it wants a lower learning rate, trained from scratch as well as pretrained. So is the
    ornament, which may start before the rest.
    """
    groups = {}
    for name in params:
        part = name.partition(".")[0]
        first = parameter_stage(name, config)
        if part in frozen or first > stage:
            continue
        if part == "text_encoder":
            groups[name] = part
        elif name.startswith(ORNAMENT):
            groups[name] = "ornament"
        elif not ornament_alone:
            groups[name] = f"stage_{first}"
    return groups


def describe_groups(params: Params, groups: dict[str, str]) -> str:
    """One line: how many of each part's parameters train."""
    words = []
    for part in PARTS:
        names = [n for n in params if n.partition(".")[0] == part]
        trained = sum(params[n].size for n in names if n in groups)
        words.append(f"{part} {trained:,}/{sum(params[n].size for n in names):,}")
    return "trainable: " + ", ".join(words)
