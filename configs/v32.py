"""The full model's first stage, 32^3."""

from configs import base


def get_config():
    config = base.get_config()
    config.model.voxel_size = 32
    config.train.stage_epochs = (30,)
    return config
