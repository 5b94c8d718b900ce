"""The full model at 64^3: T5 v1.1 and Point-E encoders, stages 32 -> 48 -> 64.

Needs ported weights (`python -m porting`); `--config.model.pretrained=False` trains without them.
"""

from configs import base


def get_config():
    return base.get_config()
