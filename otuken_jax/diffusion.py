"""Gaussian diffusion over point clouds and its samplers.

Ho et al. 2020 (arXiv:2006.11239), Nichol and Dhariwal 2021 (arXiv:2102.09672), Song et al. 2021
(DDIM, arXiv:2010.02502), Karras et al. 2022 (arXiv:2206.00364), as Point-E combines them.

Clouds are [batch, point, channel]. A denoising model is a function (x, t) -> [noise | variance
interpolation], with twice the channels of x, where t is a step of the full schedule. Tables are
float64 on the host; what happens inside a sampler is float32.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from otuken_jax.models.point_e import CHANNEL_BIASES, CHANNEL_SCALES

NUM_TIMESTEPS = 1024
Model = Callable[[Array, Array], Array]
Noise = Callable[[Array], Array]  # step -> standard normal noise, shaped like x


def beta_schedule(name: str, num_timesteps: int = NUM_TIMESTEPS) -> Float[np.ndarray, " t"]:
    """Variances of the forward process, float64: "cosine" (base models) or "linear" (upsampler)."""
    if name == "linear":
        scale = 1000 / num_timesteps
        return np.linspace(1e-4 * scale, 0.02 * scale, num_timesteps)
    if name == "cosine":
        steps = np.arange(num_timesteps + 1) / num_timesteps
        alphas_cumprod = [math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2 for u in steps]
        ratios = np.array(alphas_cumprod[1:]) / np.array(alphas_cumprod[:-1])
        return np.minimum(1 - ratios, 0.999)
    raise ValueError(f"schedule is 'cosine' or 'linear', not {name!r}")


def kept_timesteps(num_timesteps: int, respacing: str) -> list[int]:
    """Steps of a shortened process, ascending.

    respacing: "10,20,30" takes that many from each of three equal sections, "ddim64" takes 64 at an
    integer stride, "exact0,5,1023" takes those.

    Raises:
        ValueError: the count does not fit the schedule.
    """
    if respacing.startswith("exact"):
        return sorted({int(step) for step in respacing.removeprefix("exact").split(",")})
    if respacing.startswith("ddim"):
        wanted = int(respacing.removeprefix("ddim"))
        for stride in range(1, num_timesteps):
            if len(range(0, num_timesteps, stride)) == wanted:
                return list(range(0, num_timesteps, stride))
        raise ValueError(f"no integer stride takes {wanted} of {num_timesteps} steps")
    counts = [int(count) for count in respacing.split(",")]
    kept, start = [], 0
    for i, count in enumerate(counts):
        size = num_timesteps // len(counts) + (i < num_timesteps % len(counts))
        if size < count:
            raise ValueError(f"a section of {size} steps cannot give {count}")
        stride = (size - 1) / (count - 1) if count > 1 else 1.0
        position = 0.0
        for _ in range(count):
            # Accumulated and rounded half to even, as the published step tables were made.
            kept.append(start + round(position))
            position += stride
        start += size
    return sorted(set(kept))


class Reverse(NamedTuple):
    """The distribution of one reverse step, and the clean cloud that it assumes; scaled units."""

    mean: Float[Array, "b n c"]
    log_variance: Float[Array, "b n c"]
    pred_x0: Float[Array, "b n c"]


class Samples(NamedTuple):
    """Final x, final prediction of the clean cloud, and both at every step (or None), scaled."""

    x: Float[Array, "b n c"]
    pred_x0: Float[Array, "b n c"]
    steps: tuple[Array, Array] | None


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianDiffusion:
    """A noise schedule with the quantities that follow from it.

    timestep_map: for a shortened process, the step of the full schedule that each step is.
    """

    betas: Float[np.ndarray, " t"]
    timestep_map: Int[np.ndarray, " t"]
    channel_scales: tuple[float, ...] = CHANNEL_SCALES
    channel_biases: tuple[float, ...] = CHANNEL_BIASES

    @classmethod
    def create(cls, schedule: str, respacing: str | None = None) -> "GaussianDiffusion":
        """Point-E's process with a "cosine" or "linear" schedule, shortened if asked."""
        betas = beta_schedule(schedule)
        if respacing is None:
            return cls(betas, np.arange(len(betas)))
        kept = np.array(kept_timesteps(len(betas), respacing))
        alphas_cumprod = np.cumprod(1.0 - betas)[kept]
        return cls(1.0 - alphas_cumprod / np.append(1.0, alphas_cumprod[:-1]), kept)

    @cached_property
    def alphas_cumprod(self) -> Float[np.ndarray, " t"]:
        return np.cumprod(1.0 - self.betas)

    @cached_property
    def alphas_cumprod_prev(self) -> Float[np.ndarray, " t"]:
        return np.append(1.0, self.alphas_cumprod[:-1])

    @cached_property
    def posterior_variance(self) -> Float[np.ndarray, " t"]:
        return self.betas * (1.0 - self.alphas_cumprod_prev) / (1.0 - self.alphas_cumprod)

    @cached_property
    def posterior_log_variance(self) -> Float[np.ndarray, " t"]:
        """Log of the posterior variance; the first is 0, so it borrows the second's."""
        return np.log(np.append(self.posterior_variance[1], self.posterior_variance[1:]))

    @cached_property
    def posterior_mean_coefs(self) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
        """Weights of x0 and of x_t in the posterior mean."""
        rest = 1.0 - self.alphas_cumprod
        of_x0 = self.betas * np.sqrt(self.alphas_cumprod_prev) / rest
        of_xt = (1.0 - self.alphas_cumprod_prev) * np.sqrt(1.0 - self.betas) / rest
        return of_x0, of_xt

    def scale(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """Raw units to scaled."""
        return x * np.float32(self.channel_scales) + np.float32(self.channel_biases)

    def unscale(self, x: Float[Array, "*s b n c"]) -> Float[Array, "*s b n c"]:
        """Scaled units to raw."""
        return (x - np.float32(self.channel_biases)) / np.float32(self.channel_scales)

    def q_sample(
        self, x0: Float[Array, "b n c"], t: Int[Array, " b"], noise: Float[Array, "b n c"]
    ) -> Float[Array, "b n c"]:
        """x_t for clean x0: sqrt(ac) x0 + sqrt(1 - ac) noise."""
        signal = _gather(np.sqrt(self.alphas_cumprod), t)
        return signal * x0 + _gather(np.sqrt(1.0 - self.alphas_cumprod), t) * noise

    def posterior_mean(
        self, x0: Float[Array, "b n c"], x: Float[Array, "b n c"], t: Int[Array, " b"]
    ) -> Float[Array, "b n c"]:
        """Mean of q(x_{t-1} | x_t, x0)."""
        of_x0, of_xt = self.posterior_mean_coefs
        return _gather(of_x0, t) * x0 + _gather(of_xt, t) * x

    def predict_x0(
        self, x: Float[Array, "b n c"], t: Int[Array, " b"], noise: Float[Array, "b n c"]
    ) -> Float[Array, "b n c"]:
        """The clean cloud if `noise` is what was added."""
        recip = 1.0 / self.alphas_cumprod
        return _gather(np.sqrt(recip), t) * x - _gather(np.sqrt(recip - 1.0), t) * noise

    def reverse(
        self, output: Float[Array, "b n c2"], x: Array, t: Int[Array, " b"], clip_denoised: bool
    ) -> Reverse:
        """p(x_{t-1} | x_t) from a model's output; the variance lies between its two bounds."""
        noise, v = jnp.split(output.astype(jnp.float32), 2, axis=-1)
        fraction = (v + 1) / 2
        upper, lower = _gather(np.log(self.betas), t), _gather(self.posterior_log_variance, t)
        x0 = self.predict_x0(x, t, noise)
        if clip_denoised:
            x0 = jnp.clip(x0, -1, 1)
        log_variance = fraction * upper + (1 - fraction) * lower
        return Reverse(self.posterior_mean(x0, x, t), log_variance, x0)

    def model_output(self, model: Model, x: Array, t: Int[Array, " b"]) -> Array:
        """The model at the step of the full schedule that `t` is."""
        return model(x, jnp.asarray(self.timestep_map, jnp.int32)[t])


def _gather(table: np.ndarray, t: Int[Array, " b"]) -> Float[Array, "b 1 1"]:
    """Entries of a float64 table, rounded to float32, one per sample."""
    return jnp.asarray(table, jnp.float32)[t][:, None, None]


def training_losses(
    diffusion: GaussianDiffusion,
    model: Model,
    x0: Float[Array, "b n c"],
    t: Int[Array, " b"],
    noise: Float[Array, "b n c"],
) -> dict[str, Float[Array, " b"]]:
    """Loss per sample: "mse" of the noise plus "vb", the variational bound in bits per dimension.

    x0: clean clouds, raw units. The bound trains the variance alone; as published, 0 at t = 0.
    """
    x0 = diffusion.scale(x0)
    x = diffusion.q_sample(x0, t, noise)
    output = diffusion.model_output(model, x, t)
    predicted, v = jnp.split(output, 2, axis=-1)
    frozen = jnp.concatenate([jax.lax.stop_gradient(predicted), v], axis=-1)
    reverse = diffusion.reverse(frozen, x, t, clip_denoised=False)
    log_variance = _gather(diffusion.posterior_log_variance, t)
    gap = diffusion.posterior_mean(x0, x, t) - reverse.mean
    kl = 0.5 * (
        -1.0
        + reverse.log_variance
        - log_variance
        + jnp.exp(log_variance - reverse.log_variance)
        + gap**2 * jnp.exp(-reverse.log_variance)
    )
    vb = jnp.where(t == 0, 0.0, jnp.mean(kl, axis=(1, 2)) / math.log(2.0))
    mse = jnp.mean((noise - predicted) ** 2, axis=(1, 2))
    return {"loss": mse + vb, "mse": mse, "vb": vb}


def sample_by_steps(
    diffusion: GaussianDiffusion,
    model: Model,
    x: Float[Array, "b n c"],
    *,
    method: str,
    noise: Noise | None = None,
    clip_denoised: bool = True,
    return_steps: bool = False,
) -> Samples:
    """Runs the whole reverse process from noise `x`: "ddpm", or "ddim" (eta 0, needs no noise)."""
    if method not in ("ddpm", "ddim"):
        raise ValueError(f"method is 'ddpm' or 'ddim', not {method!r}")
    num_steps = len(diffusion.betas)

    def body(carry: tuple[Array, Array], step: Array):
        x, _ = carry
        t = jnp.full(x.shape[0], num_steps - 1 - step)
        reverse = diffusion.reverse(diffusion.model_output(model, x, t), x, t, clip_denoised)
        if method == "ddpm":
            spread = jnp.exp(0.5 * reverse.log_variance) * noise(step)
            x = reverse.mean + jnp.where(step < num_steps - 1, spread, 0.0)
        else:
            recip = 1.0 / diffusion.alphas_cumprod
            implied_noise = _gather(np.sqrt(recip), t) * x - reverse.pred_x0
            implied_noise = implied_noise / _gather(np.sqrt(recip - 1.0), t)
            previous = diffusion.alphas_cumprod_prev
            x = _gather(np.sqrt(previous), t) * reverse.pred_x0
            x = x + _gather(np.sqrt(1.0 - previous), t) * implied_noise
        carry = (x, reverse.pred_x0)
        return carry, carry if return_steps else None

    (x, pred_x0), steps = jax.lax.scan(body, (x, x), jnp.arange(num_steps))
    return Samples(x, pred_x0, steps)


def karras_sigmas(
    num_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0
) -> Float[np.ndarray, " s"]:
    """Noise levels from sigma_max to sigma_min, evenly spaced in sigma^(1/rho), then 0; float32."""
    start, end = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    ramp = np.linspace(0, 1, num_steps, dtype=np.float32)
    return np.append((start + ramp * (end - start)) ** rho, np.float32(0))


def sigma_to_timestep(sigma: np.float32, alphas_cumprod: Float[np.ndarray, " t"]) -> float:
    """Where a noise level lies in the schedule, fractional; found in float32 as the reference does.

    Point-E then truncates it, and reads the schedule's tables at the whole step: that mismatch is
    part of the published behaviour, and a float64 sigma can land one step away.
    """
    alpha = np.float32(1.0) / (np.float32(sigma) ** 2 + np.float32(1.0))
    # The tables fall, np.interp wants them rising; beyond the ends it gives the end.
    steps = np.arange(len(alphas_cumprod), dtype=np.float64)
    return float(np.interp(np.float64(alpha), alphas_cumprod[::-1], steps[::-1]))


@dataclasses.dataclass(frozen=True)
class KarrasConfig:
    """A sampler after Karras et al.; the defaults are Point-E's for its base models.

    method: "heun" (2n - 1 model calls), "dpm" (midpoint, 2n) or "ancestral" (Euler, n).
    s_churn: fresh noise per step, of "heun" and "dpm".
    """

    num_steps: int = 64
    sigma_min: float = 1e-3
    sigma_max: float = 120.0
    s_churn: float = 3.0
    method: str = "heun"
    guidance_scale: float = 3.0
    clip_denoised: bool = True


class _Call(NamedTuple):
    """One call of the model: what happens to x before and after it."""

    step: int
    sigma: float
    dt: float
    noise_before: float = 0.0
    noise_after: float = 0.0
    second: bool = False  # second call of its step: starts again from where the step began
    first_slope: float = 0.0  # share of the first call's slope in the second's


def _calls(config: KarrasConfig) -> list[_Call]:
    """The whole run as a list of model calls, in float32 on the host."""
    sigmas = karras_sigmas(config.num_steps, config.sigma_min, config.sigma_max)
    gamma = np.float32(min(config.s_churn / config.num_steps, math.sqrt(2.0) - 1.0))
    calls = []
    for i, (sigma, following) in enumerate(itertools.pairwise(sigmas)):
        churned = sigma * (1 + gamma)
        churn = np.sqrt(churned**2 - sigma**2)
        first = _Call(i, churned, following - churned, noise_before=churn)
        if config.method == "heun":
            calls.append(first)
            if following > 0:
                calls.append(
                    first._replace(sigma=following, noise_before=0.0, second=True, first_slope=0.5)
                )
        elif config.method == "dpm":
            # The midpoint is taken on a scale of rho = 3.
            third = np.float32(1 / 3)
            middle = ((churned**third + following**third) / 2) ** 3
            calls.append(first._replace(dt=middle - churned))
            calls.append(first._replace(sigma=middle, noise_before=0.0, second=True))
        elif config.method == "ancestral":
            up = np.sqrt(following**2 * (sigma**2 - following**2) / sigma**2)
            down = np.sqrt(following**2 - up**2)
            calls.append(_Call(i, sigma, down - sigma, noise_after=up))
        else:
            raise ValueError(f"method is 'heun', 'dpm' or 'ancestral', not {config.method!r}")
    return calls


def karras_denoiser(
    diffusion: GaussianDiffusion, model: Model, guidance_scale: float, clip_denoised: bool
) -> Callable[[Array, Array, Array], Array]:
    """Returns f(x, sigma, timestep) -> clean cloud, for x = clean + sigma * noise; scaled units.

    With guidance (a scale neither 0 nor 1) the model is called on twice the batch, the same clouds
    twice: the first half must be conditional, the second unconditional. Each prediction is clipped,
    their combination is not.
    """

    def denoise(x: Array, sigma: Array, timestep: Array) -> Array:
        x = x / jnp.sqrt(sigma**2 + 1)
        if is_guided(guidance_scale):
            x = jnp.concatenate([x, x])
        t = jnp.full(x.shape[0], timestep)
        output = diffusion.model_output(model, x, t).astype(jnp.float32)
        x0 = diffusion.predict_x0(x, t, output[..., : x.shape[-1]])
        x0 = jnp.clip(x0, -1, 1) if clip_denoised else x0
        if is_guided(guidance_scale):
            conditional, unconditional = jnp.split(x0, 2)
            x0 = unconditional + guidance_scale * (conditional - unconditional)
        return x0

    return denoise


def is_guided(guidance_scale: float) -> bool:
    """Whether the model also runs without condition."""
    return guidance_scale not in (0.0, 1.0)


def sample_karras(
    diffusion: GaussianDiffusion,
    model: Model,
    config: KarrasConfig,
    initial_noise: Float[Array, "b n c"],
    noise: Noise | None = None,
    *,
    return_steps: bool = False,
) -> Samples:
    """Integrates from standard normal `initial_noise` to a clean cloud, as one compiled loop.

    model: see `karras_denoiser` for guidance. noise: needed for churn and for "ancestral".
    """
    calls = _calls(config)
    steps = [int(sigma_to_timestep(call.sigma, diffusion.alphas_cumprod)) for call in calls]
    table = {name: np.array([getattr(c, name) for c in calls]) for name in _Call._fields}
    table = {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in table.items()}
    denoise = karras_denoiser(diffusion, model, config.guidance_scale, config.clip_denoised)
    noisy = bool(table["noise_before"].any() or table["noise_after"].any())

    def body(carry: tuple[Array, Array, Array, Array], call: dict[str, Array]):
        x, start, slope, _ = carry
        z = noise(call["step"]) if noisy else 0.0
        x = x + call["noise_before"] * z
        x0 = denoise(x, call["sigma"], call["timestep"])
        new_slope = (x - x0) / call["sigma"]
        start = jnp.where(call["second"], start, x)
        share = call["first_slope"]
        slope = share * slope + (1 - share) * new_slope
        carry = (start + slope * call["dt"] + call["noise_after"] * z, start, slope, x0)
        return carry, (x, x0) if return_steps else None

    x = initial_noise * np.float32(config.sigma_max)
    table = {name: jnp.asarray(v) for name, v in table.items()}
    table["timestep"] = jnp.asarray(steps, jnp.int32)
    (x, _, _, x0), states = jax.lax.scan(body, (x, x, jnp.zeros_like(x), x), table)
    if return_steps:
        # A step is shown at its first call; the last prediction stands beside the final x.
        first = np.array([i for i, call in enumerate(calls) if not call.second])
        ends = zip(states, (x, x0), strict=True)
        states = tuple(jnp.concatenate([state[first], end[None]]) for state, end in ends)
    return Samples(x, x0, states)
