"""The full model at 64^3 from scratch in minutes on one large GPU: whole library, short schedule.

What it learned, and how fast, is in benchmarks/README.md. The process held 35 GiB of an H200's
memory; on a smaller GPU lower `data.batch_size` and the rate with it.
"""

from configs import base


def get_config():
    config = base.get_config()
    model = config.model
    model.pretrained = False
    model.remat = False

    data = config.data
    data.num_shapes = 9000
    data.num_val = 192
    data.num_heldout = 192
    data.num_heldout_styles = 96
    data.num_heldout_phrasing = 96
    data.text_only = 0.8
    data.text_and_points = 0.1
    data.full_caption = 0.8
    data.rotation_range = 5.0
    data.scale_range = (0.98, 1.02)

    config.optim.learning_rate = 5e-4
    config.optim.text_encoder_scale = 0.6  # the text encoder starts at random
    config.train.chart_teaching = 0.75
    config.train.loss.band = 5.0
    config.train.loss.relief = 2.0
    config.train.loss.color = 2.0
    config.train.stage_epochs = (13, 1, 3)
    config.optim.cooldown = 3 / 17  # of these epochs, the last stage
    config.train.eval_every = 6
    return config
