"""The full model's first two stages, 32 -> 48."""

from configs import base


def get_config():
    config = base.get_config()
    config.model.voxel_size = 48
    config.train.stage_epochs = (30, 20)
    return config
