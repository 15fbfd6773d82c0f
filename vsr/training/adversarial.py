"""What generator and discriminator want of each other, from the discriminator's logits alone."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vsr.errors import SettingsError
from vsr.training.losses import at_least_float32

__all__ = ["ADVERSARIAL_LOSSES", "AdversarialLoss"]

ADVERSARIAL_LOSSES = ("standard", "relativistic", "lsgan")


class AdversarialLoss(nn.Module):
    """The two losses of a game between a generator and a discriminator C (logits, no sigmoid at its end).

    With s the sigmoid, E the mean over all logits given (batch, and pixels where the discriminator judges each),
    r real and f made pictures:

    "standard" (Goodfellow et al., NIPS 2014, with the generator's loss that does not saturate, as in SRGAN):
        discriminator  -E[log s(C(r))] - E[log(1 - s(C(f)))]
        generator      -E[log s(C(f))]
    "relativistic" average (Jolicoeur-Martineau, ICLR 2019; ESRGAN, equations (1) and (2)),
    with D(a, b) = s(C(a) - E[C(b)]):
        discriminator  -E[log D(r, f)] - E[log(1 - D(f, r))]
        generator      -E[log(1 - D(r, f))] - E[log D(f, r)]
    "lsgan" (Mao et al., ICCV 2017, equation (9)):
        discriminator  (E[(C(r) - 1)²] + E[C(f)²]) / 2
        generator      E[(C(f) - 1)²] / 2

    These are the papers' formulas. ESRGAN's published program halves both relativistic losses: its weight of 5e-3 for
    the generator is one of 2.5e-3 here (for the discriminator a factor means nothing to Adam).

    All arithmetic is in float32 at least, whatever the logits are, and holds for logits of any size: a loss grows with
    them, it never becomes infinite or NaN. E is over this process's share of a batch; only "relativistic" is not
    linear in it.

    Args:
        kind: one of `ADVERSARIAL_LOSSES`.

    Raises:
        SettingsError: an unknown kind.
    """

    def __init__(self, kind: str = "relativistic") -> None:
        super().__init__()
        if kind not in ADVERSARIAL_LOSSES:
            raise SettingsError(f"adversarial loss {kind!r} is not one of {', '.join(ADVERSARIAL_LOSSES)}")
        self.kind = kind

    def extra_repr(self) -> str:
        return repr(self.kind)

    @property
    def needs_real(self) -> bool:
        """Whether the generator's loss looks at the logits of real pictures, too."""
        return self.kind == "relativistic"

    def for_generator(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        """The generator's loss as a scalar. No gradient goes to `real_logits`: no generator made those pictures.

        Args:
            real_logits: of the discriminator for real pictures, any shape; may be None unless `needs_real`.
            fake_logits: of the discriminator for made pictures, with their graph to the generator.

        Raises:
            ValueError: `real_logits` is None although they are needed.
        """
        fake = at_least_float32(fake_logits)
        if self.kind == "standard":
            return _says_real(fake)
        if self.kind == "lsgan":
            return (fake - 1).square().mean() / 2
        if real_logits is None:
            raise ValueError("the relativistic loss of a generator needs the logits of real pictures")
        real = at_least_float32(real_logits.detach())
        return _says_fake(real - fake.mean()) + _says_real(fake - real.mean())

    def for_discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The discriminator's loss as a scalar.

        Args:
            real_logits: for real pictures, any shape.
            fake_logits: for made pictures. Detach these pictures before the discriminator sees them, or the gradient
                goes on into the generator: from logits it can no longer be told apart.
        """
        real, fake = at_least_float32(real_logits), at_least_float32(fake_logits)
        if self.kind == "standard":
            return _says_real(real) + _says_fake(fake)
        if self.kind == "lsgan":
            return ((real - 1).square().mean() + fake.square().mean()) / 2
        return _says_real(real - fake.mean()) + _says_fake(fake - real.mean())


def _says_real(logits: Tensor) -> Tensor:
    """-E[log s(logits)], by log s(x) = -softplus(-x), which holds where s(x) itself is rounded to 0 or 1."""
    return F.softplus(-logits).mean()


def _says_fake(logits: Tensor) -> Tensor:
    """-E[log(1 - s(logits))], likewise."""
    return F.softplus(logits).mean()
